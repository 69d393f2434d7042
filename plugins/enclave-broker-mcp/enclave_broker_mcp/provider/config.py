"""What ``[[tools]] use = "mcp"`` may say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from annotated_types import Ge, Len
from enclave_broker_network.fields import HeaderName
from enclave_broker_network.rules import NetworkRules
from enclave_broker_network.urls import UrlText
from pydantic import AfterValidator, Field, SecretStr, model_validator

from enclave_broker_core.models import Count, Frozen, Seconds, SourceName
from enclave_broker_core.patterns import PatternText

_OF_COMMANDS = ("args", "env", "inherit_env", "cwd")
_OF_URLS = ("headers", "auth", "network")


def _not_the_protocols(name: str) -> str:
    if name.lower() in ("content-type", "accept"):
        raise ValueError(f"{name!r} is not the name of a header that can be set")
    return name


def _variable(name: str) -> str:
    if not name or "=" in name or "\0" in name:
        raise ValueError(f"{name!r} is not the name of a variable")
    return name


ServerHeader = Annotated[HeaderName, AfterValidator(_not_the_protocols)]
VariableName = Annotated[str, AfterValidator(_variable)]
PlainText = Annotated[str, Len(1)]


class ClientCredentials(Frozen):
    """OAuth 2 client credentials for a server that wants a token."""

    type: Literal["client_credentials"]
    """The grant."""
    issuer: UrlText
    """The authorization server that the credentials are of, as it calls itself: they are shown to
    no other. It is reached besides what 'network' allows."""
    client_id: PlainText
    """The client."""
    client_secret: SecretStr
    """Its secret; may have places {secret:NAME}."""
    scopes: tuple[PlainText, ...] = ()
    """The scopes that are asked for."""


class McpConfig(Frozen):
    """One MCP server, whose tools become ``name:tool``: a program that is started here, by its
    ``command``, or one that is reached at a ``url``.
    """

    name: SourceName = "mcp"
    """What the names of its tools begin with."""
    command: PlainText | None = None
    """The program that is the server; it is spoken to over stdio."""
    args: tuple[str, ...] = ()
    """The program's arguments."""
    env: Mapping[VariableName, SecretStr] = Field(default_factory=dict)
    """Variables of the program's environment. Places {secret:NAME} are looked up at each start."""
    inherit_env: tuple[VariableName, ...] = ()
    """Variables of the broker's environment that the program gets too, besides HOME, LOGNAME,
    PATH, SHELL, TERM and USER."""
    cwd: PlainText | None = None
    """The program's working directory; the configuration's folder unless given."""
    url: UrlText | None = None
    """Where the server is reached, over streamable HTTP."""
    headers: Mapping[ServerHeader, SecretStr] = Field(default_factory=dict)
    """Headers of each request to the server. Places {secret:NAME} are looked up at each request."""
    auth: ClientCredentials | None = None
    """How a token for the server is had; else 'headers' may hold one."""
    network: NetworkRules = NetworkRules()
    """What may be reached, and how much may come back."""
    protocol: Literal["auto", "handshake"] = "auto"
    """'auto' asks for the newest revision of the protocol and falls back to its handshake;
    'handshake' begins with that, for a server that can't be asked."""
    required: bool = True
    """Whether the broker does not open when the server does not start. Otherwise there are no
    tools yet, and it is tried again."""
    start_timeout: Seconds = 30.0
    """Seconds until the server has started and listed its tools."""
    timeout: Seconds = 60.0
    """Seconds that each call may take."""
    refresh: Annotated[float, Ge(0)] = 300.0
    """How often, in seconds, the tools are listed again without being told to; 0 is never."""
    include: tuple[PatternText, ...] = ()
    """Patterns of the tools that are taken; without any, all are."""
    exclude: tuple[PatternText, ...] = ()
    """Patterns of the tools that are never taken."""
    hints: bool = True
    """Whether the server is believed that a tool is read-only, idempotent or does no harm."""
    text_results: Literal["text", "json"] = "text"
    """What a result is that is one text: that text, or with 'json' the value of a text that is a
    JSON object or array."""
    roots: tuple[PlainText, ...] = ()
    """Folders, or file:// URIs, that the server is told when it asks for roots. Without any such
    requests are refused."""
    elicitation: Literal["refuse", "decline"] = "refuse"
    """What comes of a server's questions to a user: 'refuse' says that there is nobody to ask,
    'decline' that the user does not want to answer."""
    pin: bool = False
    """Whether only tools are offered that were accepted as they are, by 'enclave-broker tools
    accept'."""
    pin_file: PlainText | None = None
    """Where accepted tools are kept; NAME.pins.json unless given."""
    max_message_bytes: Count = 8 * 1024 * 1024
    """The size of one message from the server."""
    max_tools: Count = 1000
    """How many tools are taken at the most."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("give either a 'command' or a 'url'")
        other = _OF_URLS if self.url is None else _OF_COMMANDS
        wrong = [key for key in other if key in self.model_fields_set]
        if wrong:
            what = "command" if self.url is None else "url"
            raise ValueError(f"{', '.join(wrong)}: not for a server that has a '{what}'")
        return self

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if self.pin_file is not None and not self.pin:
            raise ValueError("a 'pin_file' without 'pin = true' pins nothing")
        return self
