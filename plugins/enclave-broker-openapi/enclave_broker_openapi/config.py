"""What ``[[tools]] use = "openapi"`` may say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Len
from enclave_broker_network.fields import HeaderName
from enclave_broker_network.retries import Retries
from enclave_broker_network.rules import NetworkRules
from enclave_broker_network.urls import UrlText, url_text
from pydantic import Field, JsonValue, field_validator, model_validator

from enclave_broker_core.models import Count, Frozen, Seconds, SourceName
from enclave_broker_core.patterns import PatternText

from .credentials import ApiKey, Auth, Value, names_in
from .security import Use

_URLS = ("http://", "https://")


class Selection(Frozen):
    """Which operations: all that is given must hold."""

    operation: PatternText | None = None
    """A pattern of an operationId or a name."""
    tag: PatternText | None = None
    """A pattern of a tag."""
    path: PatternText | None = None
    """A pattern of the path as the document writes it."""
    method: str | None = Field(default=None, min_length=1)
    """The method, in either case."""


Selections = tuple[PatternText | Selection, ...]


class OpenapiConfig(Frozen):
    """One service's tools, from its OpenAPI document.

    Texts of ``auth`` and ``headers`` may have places ``{secret:NAME}``, which are looked up at
    each call.
    """

    name: SourceName = "openapi"
    """The source's name, and what its tools' names begin with."""
    spec: Annotated[str, Len(1)] | Mapping[str, Any]
    """The document: a URL, a file's path, or a table that is the document itself."""
    auth: Auth | None = None
    """Credentials, by the document's schemes."""
    server: UrlText | None = None
    """The URL that all requests go to, instead of what the document says."""
    server_variables: Mapping[str, str] = Field(default_factory=dict)
    """Variables of the document's own server URL."""
    include: Selections = ()
    """Operations that become tools, by the name or a table; all unless given."""
    exclude: Selections = ()
    """Operations that are never included."""
    rename: Mapping[str, str] = Field(default_factory=dict)
    """Names of tools, by the operationId or ``GET /path``."""
    description: str = "{summary}\n\n{description}"
    """A template with ``{summary}``, ``{description}``, ``{method}``, ``{path}``, ``{operation}``,
    ``{tags}``."""
    arguments: Mapping[str, JsonValue] = Field(default_factory=dict)
    """Values that are sent with every operation that has a parameter of that name; callers do not
    see it."""
    headers: Mapping[HeaderName, Value] = Field(default_factory=dict)
    """Headers of every request, also for the document."""
    header_lists: Literal["joined", "lines"] = "joined"
    """How a list in a header is sent: one line with commas, as OpenAPI says, or a line for each
    item, as some services read it."""
    timeout: Seconds | None = None
    """Seconds that a call may take."""
    retries: Retries | None = Retries()
    """How often a request is sent again that may be."""
    refresh: Annotated[float, Ge(0)] = 300.0
    """How often, in seconds, the document is looked at again; 0 is never."""
    required: bool = True
    """Whether a start without the document fails; otherwise there are no tools yet."""
    max_bytes: Count = 64 * 1024 * 1024
    """Bytes of all documents together."""
    max_operations: Count = 20_000
    """Operations that are taken."""
    network: NetworkRules = NetworkRules()
    """What its requests may reach, and how much may come back."""

    @field_validator("spec")
    @classmethod
    def _spec(cls, spec: str | Mapping[str, Any]) -> str | Mapping[str, Any]:
        if isinstance(spec, str) and spec.lower().startswith(_URLS):
            url_text(spec)
        return spec

    @model_validator(mode="after")
    def _timeout(self) -> Self:
        total = self.network.timeouts.total
        if self.timeout is not None and self.timeout > total:
            raise ValueError(f"timeout is longer than network.timeouts.total, which is {total:g} s")
        return self

    @field_validator("arguments")
    @classmethod
    def _arguments(cls, given: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
        for name, value in given.items():
            if isinstance(value, str) and names_in(Value(value)):
                raise ValueError(f"{name}: a secret can stand in 'auth' and 'headers' only")
        return given

    @property
    def header_uses(self) -> tuple[Use, ...]:
        """The headers as credentials: they may hold secrets."""
        return tuple(
            Use(ApiKey(type="api_key", key=text), "header", name)
            for name, text in self.headers.items()
        )

    @property
    def kind(self) -> Literal["url", "file", "table"]:
        """Where the document is."""
        if not isinstance(self.spec, str):
            return "table"
        return "url" if self.spec.lower().startswith(_URLS) else "file"
