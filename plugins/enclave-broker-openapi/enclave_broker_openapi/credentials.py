"""The credentials that a source is configured with: shown to a service, and to nobody else."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, SecretStr, Tag

from enclave_broker_core.models import Frozen

Secret = Callable[[str], str]
"""The value of a secret by its name, as it is now."""


Value = SecretStr
"""A text with places ``{secret:NAME}``, each of which is asked for at each call."""

_PLACE = re.compile(r"\{secret:(?P<name>[^\s{}]+)\}")


class Bearer(Frozen):
    """``Authorization: Bearer …``."""

    type: Literal["bearer"]
    """The kind of credentials."""
    token: Value
    """The token."""


class Basic(Frozen):
    """A user and a password, as HTTP has them."""

    type: Literal["basic"]
    """The kind of credentials."""
    username: Value
    """The user."""
    password: Value
    """The password."""


class ApiKey(Frozen, populate_by_name=True):
    """A key in a header, the query or a cookie."""

    type: Literal["api_key"]
    """The kind of credentials."""
    key: Value
    """The key."""
    name: str | None = Field(default=None, min_length=1)
    """The name of what it is in, where the document's scheme does not say."""
    in_: Literal["header", "query", "cookie"] | None = Field(default=None, alias="in")
    """What it is in, where the document's scheme does not say."""


class ClientCredentials(Frozen):
    """OAuth 2 client credentials."""

    type: Literal["client_credentials"]
    """The kind of credentials."""
    client_id: Value
    """The client."""
    client_secret: Value
    """The client's secret."""
    token_url: str | None = None
    """Where tokens come from; as the document says unless given."""
    scopes: tuple[str, ...] | None = None
    """The scopes to ask for; the document's unless given."""
    client_auth: Literal["basic", "post"] = "basic"
    """How the client shows itself to the token's server: by HTTP basic, or in the body."""
    parameters: Mapping[str, str] = Field(default_factory=dict)
    """What is sent to that server besides, an audience for example."""


Credential = Bearer | Basic | ApiKey | ClientCredentials
_One = Annotated[Credential, Field(discriminator="type")]


def _shape(given: Any) -> str:
    if isinstance(given, Mapping):
        return "one" if isinstance(given.get("type", None), str) or not given else "named"
    return "one"


Auth = Annotated[
    Annotated[_One, Tag("one")] | Annotated[Mapping[str, _One], Tag("named")],
    Discriminator(_shape),
]
"""One credential for all schemes of its kind, or several by the names of the schemes."""


def values_of(credential: Credential) -> Iterator[Value]:
    """All that is secret in a credential."""
    if isinstance(credential, Bearer):
        yield credential.token
    elif isinstance(credential, Basic):
        yield from (credential.username, credential.password)
    elif isinstance(credential, ApiKey):
        yield credential.key
    else:
        yield from (credential.client_id, credential.client_secret)


def secret_names(credentials: Iterator[Credential]) -> tuple[str, ...]:
    """The names of the secrets that are asked for at each call."""
    values = [value for credential in credentials for value in values_of(credential)]
    return tuple(sorted({name for value in values for name in names_in(value)}))


def names_in(value: Value) -> list[str]:
    """The secrets that a text has places for."""
    return _PLACE.findall(value.get_secret_value())


def revealed(value: Value, secret: Secret) -> str:
    """The text with its secrets in their places."""
    return _PLACE.sub(lambda place: secret(place["name"]), value.get_secret_value())


def basic_header(username: str, password: str) -> str:
    """What ``Authorization`` says of a user and a password."""
    return f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"
