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
    """``Authorization: Bearer``; ``token`` is a text with places for secrets."""

    type: Literal["bearer"]
    token: str


class Basic(Frozen):
    """``Authorization: Basic``; both are texts with places for secrets."""

    type: Literal["basic"]
    username: str
    password: str


Auth = Annotated[Bearer | Basic, Field(discriminator="type")]


class PartConfig(Frozen):
    """A field of a multipart body that is more than a text.

    ``base64`` says that the content is given in base64, as JSON can't hold bytes.
    """

    content: str
    filename: str | None = None
    content_type: MediaType | None = None
    base64: bool = False


class BodyConfig(Frozen):
    """What a request sends: exactly one of ``json``, ``form``, ``multipart``, ``text``, ``bytes``.

    ``json`` is any value whose texts have places: ``"{name}"`` alone keeps the argument's type,
    and ``"{*}"`` is an object of all arguments that have no other place. ``bytes`` is a text in
    base64. Members and fields whose argument was not given are left out.
    """

    model_config = ConfigDict(populate_by_name=True)

    json_: JsonValue = Field(default=None, alias="json")
    form: Mapping[str, Value] | None = None
    multipart: Mapping[str, str | PartConfig] | None = None
    text: str | None = None
    bytes_: str | None = Field(default=None, alias="bytes")
    content_type: MediaType | None = None

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

    ``url`` is an RFC 6570 template, whole or behind the source's ``base_url``. The arguments are
    described by ``parameters``, one by one, or by ``arguments``, a JSON Schema. ``query``,
    ``headers`` and ``body`` have places for them and for secrets; an entry whose argument was
    not given is left out. ``result`` is what of the answer is the tool's result: ``body``,
    ``body/a/0``, ``header:NAME``, ``status``, or a table of these; ``read`` is how the body is
    read. Statuses besides 2xx are errors unless they are in ``allow_status``. ``auth`` takes the
    place of the source's; false is none.
    """

    name: str
    url: str = ""
    method: Method = "GET"
    description: str = ""
    parameters: Mapping[str, str | dict[str, Any]] | None = None
    arguments: dict[str, Any] | None = None
    query: Mapping[str, Value] = Field(default_factory=dict)
    headers: Mapping[str, Value] = Field(default_factory=dict)
    body: BodyConfig | None = None
    result: str | Annotated[Mapping[str, str], Field(min_length=1)] = "body"
    read: As = "auto"
    output_schema: dict[str, Any] | None = None
    allow_status: frozenset[Status] = frozenset()
    auth: Auth | Literal[False] | None = None
    retries: Retries | None = None
    timeout: Seconds | None = None
    rate_limit: Rate | None = None
    tags: frozenset[str] = frozenset()
    deprecated: bool = False
    read_only: bool | None = None
    idempotent: bool | None = None
    requires_auth: bool = False

    @model_validator(mode="after")
    def _arguments(self) -> RequestConfig:
        if self.parameters is not None and self.arguments is not None:
            raise ValueError("a request has either parameters or arguments")
        ToolSpec(name=self.name)
        return self


class SourceConfig(Frozen):
    """What all requests of a source have in common."""

    base_url: str = ""
    headers: Mapping[str, Value] = Field(default_factory=dict)
    query: Mapping[str, Value] = Field(default_factory=dict)
    auth: Auth | None = None
    retries: Retries | None = None


def as_text(value: Value) -> str:
    """A value of the configuration as the text that it stands for."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
