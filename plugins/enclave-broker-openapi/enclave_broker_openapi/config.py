"""What ``[[tools]] use = "openapi"`` may say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Len
from enclave_broker_network.fields import may_set
from enclave_broker_network.retries import Retries
from enclave_broker_network.rules import NetworkRules
from enclave_broker_network.urls import parse_url
from pydantic import AfterValidator, Field, JsonValue, field_validator, model_validator

from enclave_broker_core.errors import BrokerError
from enclave_broker_core.models import Count, Frozen, Seconds
from enclave_broker_core.patterns import Pattern

from .credentials import ApiKey, Auth, Value, names_in
from .security import Use

_URLS = ("http://", "https://")


def _pattern(text: str) -> str:
    try:
        Pattern(text)
    except BrokerError as problem:
        raise ValueError(problem.message) from None
    return text


def _url(text: str) -> str:
    try:
        parse_url(text)
    except BrokerError as problem:
        raise ValueError(problem.message) from None
    return text


def _header(name: str) -> str:
    if not may_set(name):
        raise ValueError(f"{name!r} is not the name of a header that can be set")
    return name


HeaderName = Annotated[str, AfterValidator(_header)]
PatternText = Annotated[str, AfterValidator(_pattern)]
UrlText = Annotated[str, AfterValidator(_url)]


class Selection(Frozen):
    """Which operations: all that is given must hold.

    ``operation`` and ``tag`` are patterns of an operationId or a name, and of a tag; ``path``
    is one of the path as the document writes it, ``method`` in either case.
    """

    operation: PatternText | None = None
    tag: PatternText | None = None
    path: PatternText | None = None
    method: str | None = Field(default=None, min_length=1)


Selections = tuple[PatternText | Selection, ...]


class OpenapiConfig(Frozen):
    """One service's tools, from its OpenAPI document.

    ``spec`` is the document: a URL, a file's path or a table that is the document itself.
    ``include`` and ``exclude`` choose operations, by the name or a table; what is excluded is
    never included. ``rename`` is operationId, or ``GET /path``, to name. ``server`` is the
    URL that all requests go to, instead of what the document says, ``server_variables`` are
    for the document's own. ``description`` is a template with ``{summary}``,
    ``{description}``, ``{method}``, ``{path}``, ``{operation}`` and ``{tags}``. ``arguments``
    are values that are sent with every operation that has a parameter of that name; callers
    do not see it. ``headers`` are sent with every request, also for the document. A list in
    a header is one line with commas, as OpenAPI says, or with ``header_lists = "lines"`` a
    line for each item, as some services read it.

    Texts of ``auth`` and ``headers`` may have places ``{secret:NAME}``, which are looked up at
    each call. ``refresh`` is how often, in seconds, the document is looked at again, 0 for never;
    without a document at the start, ``required`` fails and otherwise there are no tools yet.
    ``max_bytes`` is the size of all documents together, ``max_operations`` how many are taken.
    ``timeout`` is of each call, in seconds; ``retries`` of those that may be repeated.
    """

    name: str = "openapi"
    spec: Annotated[str, Len(1)] | Mapping[str, Any]
    auth: Auth | None = None
    server: UrlText | None = None
    server_variables: Mapping[str, str] = Field(default_factory=dict)
    include: Selections = ()
    exclude: Selections = ()
    rename: Mapping[str, str] = Field(default_factory=dict)
    description: str = "{summary}\n\n{description}"
    arguments: Mapping[str, JsonValue] = Field(default_factory=dict)
    headers: Mapping[HeaderName, Value] = Field(default_factory=dict)
    header_lists: Literal["joined", "lines"] = "joined"
    timeout: Seconds | None = None
    retries: Retries | None = Retries()
    refresh: Annotated[float, Ge(0)] = 300.0
    required: bool = True
    max_bytes: Count = 64 * 1024 * 1024
    max_operations: Count = 20_000
    network: NetworkRules = NetworkRules()

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", name) is None:
            raise ValueError("a source's name has letters, digits, '_', '.' and '-', up to 64")
        return name

    @field_validator("spec")
    @classmethod
    def _spec(cls, spec: str | Mapping[str, Any]) -> str | Mapping[str, Any]:
        if isinstance(spec, str) and spec.lower().startswith(_URLS):
            _url(spec)
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
