"""The configuration of one request, and of what all requests of a source have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from enclave_broker_network.retries import Retries
from pydantic import ConfigDict, Field, JsonValue, model_validator

from enclave_broker_core.models import Frozen, Rate, Seconds, ToolSpec

from .bodies import BodyMaker, BytesBody, FormBody, JsonBody, MultipartBody, PartMaker, TextBody
from .results import As

Method = Literal["GET", "HEAD", "OPTIONS", "QUERY", "POST", "PUT", "PATCH", "DELETE"]
MediaType = Annotated[str, Field(pattern=r"^[!-~]([ -~]*[!-~])?$")]
Status = Annotated[int, Field(ge=200, le=599)]
# A text, a number or true and false, as TOML has them.
Value = str | int | float | bool


class Bearer(Frozen):
    """``Authorization: Bearer``."""

    type: Literal["bearer"]
    """The kind of credentials."""
    token: str
    """The token, a text with places for secrets."""


class Basic(Frozen):
    """``Authorization: Basic``."""

    type: Literal["basic"]
    """The kind of credentials."""
    username: str
    """The user, a text with places for secrets."""
    password: str
    """The password, a text with places for secrets."""


Auth = Annotated[Bearer | Basic, Field(discriminator="type")]


class PartConfig(Frozen):
    """A field of a multipart body that is more than a text."""

    content: str
    """The content, a text with places."""
    filename: str | None = None
    """The name of the file that it is."""
    content_type: MediaType | None = None
    """Its media type."""
    base64: bool = False
    """Whether the content is given in base64, as JSON can't hold bytes."""


class BodyConfig(Frozen):
    """What a request sends: exactly one of ``json``, ``form``, ``multipart``, ``text``, ``bytes``.

    Members and fields whose argument was not given are left out.
    """

    model_config = ConfigDict(populate_by_name=True)

    json_: JsonValue = Field(default=None, alias="json")
    """Any value whose texts have places: ``"{name}"`` alone keeps the argument's type, and
    ``"{*}"`` is an object of all arguments that have no other place."""
    form: Mapping[str, Value] | None = None
    """The fields of a form."""
    multipart: Mapping[str, str | PartConfig] | None = None
    """The fields of a multipart form."""
    text: str | None = None
    """A text with places."""
    bytes_: str | None = Field(default=None, alias="bytes")
    """A text in base64, sent as the bytes that it stands for."""
    content_type: MediaType | None = None
    """The body's media type, instead of the usual one of its kind."""

    @model_validator(mode="after")
    def _one(self) -> BodyConfig:
        if len(self.model_fields_set - {"content_type"}) != 1:
            raise ValueError("a body is one of json, form, multipart, text and bytes")
        if self.multipart is not None and self.content_type is not None:
            raise ValueError("a multipart body has a content type of its own")
        return self

    def maker(self) -> BodyMaker:
        """What makes the body of each call. ValueError for wrong places."""
        if self.form is not None:
            return FormBody({name: as_text(value) for name, value in self.form.items()})
        if self.multipart is not None:
            parts = {
                name: PartMaker(part) if isinstance(part, str) else PartMaker(**part.model_dump())
                for name, part in self.multipart.items()
            }
            return MultipartBody(parts)
        if self.text is not None:
            return TextBody(self.text)
        if self.bytes_ is not None:
            return BytesBody(self.bytes_)
        return JsonBody(self.json_)


class RequestConfig(Frozen):
    """One tool.

    Its arguments are described by ``parameters``, one by one, or by ``arguments``. ``query``,
    ``headers`` and ``body`` have places for them and for secrets; an entry whose argument was
    not given is left out.
    """

    name: str
    """The tool's name."""
    url: str = ""
    """An RFC 6570 template, whole or behind the source's ``base_url``."""
    method: Method = "GET"
    """The method of the request."""
    description: str = ""
    """What the tool does, for those who choose it."""
    parameters: Mapping[str, str | dict[str, Any]] | None = None
    """The arguments by name: a type, with ``?`` behind it when it may be left out, or a schema."""
    arguments: dict[str, Any] | None = None
    """A JSON Schema of all arguments."""
    query: Mapping[str, Value] = Field(default_factory=dict)
    """What is added to the query."""
    headers: Mapping[str, Value] = Field(default_factory=dict)
    """Headers of the request."""
    body: BodyConfig | None = None
    """What it sends."""
    result: str | Annotated[Mapping[str, str], Field(min_length=1)] = "body"
    """What of the answer is the tool's result: ``body``, ``body/a/0``, ``header:NAME``, ``status``,
    or a table of these."""
    read: As = "auto"
    """How the body is read."""
    output_schema: dict[str, Any] | None = None
    """A JSON Schema of the result."""
    allow_status: frozenset[Status] = frozenset()
    """Statuses that are no errors, besides 2xx."""
    auth: Auth | Literal[False] | None = None
    """Credentials instead of the source's; false is none."""
    retries: Retries | None = None
    """How often it is sent again, instead of what the source says."""
    timeout: Seconds | None = None
    """Seconds that a call may take."""
    rate_limit: Rate | None = None
    """A window for all calls of this tool."""
    tags: frozenset[str] = frozenset()
    """Words to find the tool by."""
    deprecated: bool = False
    """Whether there is something better by now."""
    read_only: bool | None = None
    """Whether it changes nothing; said by the method unless given."""
    idempotent: bool | None = None
    """Whether it may be sent twice; said by the method unless given."""
    requires_auth: bool = False
    """Whether only callers may use it who have shown who they are."""

    @model_validator(mode="after")
    def _arguments(self) -> RequestConfig:
        if self.parameters is not None and self.arguments is not None:
            raise ValueError("a request has either parameters or arguments")
        ToolSpec(name=self.name)
        return self


class SourceConfig(Frozen):
    """What all requests of a source have in common."""

    base_url: str = ""
    """What the URLs are behind, unless they are whole."""
    headers: Mapping[str, Value] = Field(default_factory=dict)
    """Headers of every request."""
    query: Mapping[str, Value] = Field(default_factory=dict)
    """What is added to every query."""
    auth: Auth | None = None
    """Credentials of every request."""
    retries: Retries | None = None
    """How often a request is sent again that may be."""


def as_text(value: Value) -> str:
    """A value of the configuration as the text that it stands for."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
