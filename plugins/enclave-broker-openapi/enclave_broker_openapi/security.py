"""Which credentials an operation wants: schemes, and requirements with their AND and OR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .credentials import ApiKey, Basic, Bearer, ClientCredentials, Credential
from .document import Document
from .problems import OperationError
from .swagger import scheme_of_2

# Of the alternatives in one operation's security.
_MOST = 50


@dataclass(frozen=True, slots=True)
class Use:
    """A credential and where it goes. ``scopes`` and ``token_url`` are for tokens only."""

    credential: Credential
    place: str = "header"
    name: str = "Authorization"
    scopes: tuple[str, ...] = ()
    token_url: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What is sent with an operation's requests, and what it wants that nobody configured."""

    uses: tuple[Use, ...] = ()
    missing: str | None = None


class Security:
    """Chooses the credentials of each operation of a document.

    ``given`` is one credential for all schemes of its kind, or several by the schemes' names.
    """

    def __init__(
        self, document: Document, given: Credential | Mapping[str, Credential] | None
    ) -> None:
        self._document = document
        self._one = given if not isinstance(given, Mapping) else None
        self._named: Mapping[str, Credential] = given if isinstance(given, Mapping) else {}
        self._schemes = _schemes(document)

    def choose(self, requirements: Any) -> Choice:
        """The first of the requirements that the configured credentials fulfil.

        ``requirements`` are those of the operation, or else of the document. None says that
        nothing is said: then the one credential is sent. An empty list says that none is.
        """
        if requirements is None:
            return Choice(() if self._one is None else (self._use(self._one, {}, ()),))
        if not isinstance(requirements, list):
            raise OperationError("its security is no list")
        alternatives = [one for one in requirements[:_MOST] if isinstance(one, dict)]
        for alternative in alternatives:
            uses = self._fulfilled(alternative)
            if uses:
                return Choice(uses)
        if not alternatives or any(not one for one in alternatives):
            return Choice()
        wanted = [" and ".join(map(str, one)) for one in alternatives]
        return Choice(missing=" or ".join(wanted)[:200])

    def unknown(self) -> list[str]:
        """The names of configured schemes that the document has not."""
        return sorted(self._named.keys() - self._schemes.keys())

    def token_urls(self) -> list[str]:
        """Where the document's tokens come from."""
        described = [_client_flow(scheme).get("tokenUrl") for scheme in self._schemes.values()]
        return [url for url in described if isinstance(url, str)]

    def _fulfilled(self, alternative: Mapping[str, Any]) -> tuple[Use, ...] | None:
        uses = []
        for name, scopes in alternative.items():
            scheme = self._schemes.get(name)
            credential = self._named.get(name)
            if credential is None and self._one is not None and _fits(self._one, scheme):
                credential = self._one
            if credential is None:
                return None
            listed = scopes if isinstance(scopes, list) else []
            uses.append(self._use(credential, scheme or {}, tuple(map(str, listed))))
        return tuple(uses)

    def _use(self, credential: Credential, scheme: Mapping[str, Any], scopes: Sequence[str]) -> Use:
        if isinstance(credential, ApiKey):
            name = credential.name or scheme.get("name")
            place = credential.in_ or scheme.get("in")
            placed = place if isinstance(place, str) else "header"
            return Use(credential, placed, str(name or "Authorization"))
        if isinstance(credential, ClientCredentials):
            url = _client_flow(scheme).get("tokenUrl")
            wanted = credential.scopes if credential.scopes is not None else tuple(scopes)
            return Use(
                credential,
                scopes=wanted,
                token_url=credential.token_url or (url if isinstance(url, str) else None),
            )
        return Use(credential)


def _client_flow(scheme: Mapping[str, Any]) -> Mapping[str, Any]:
    flows = scheme.get("flows")
    flow = flows.get("clientCredentials") if isinstance(flows, dict) else None
    return flow if isinstance(flow, dict) else {}


def _fits(credential: Credential, scheme: Mapping[str, Any] | None) -> bool:
    """Whether a credential is of a scheme's kind."""
    if scheme is None:
        return False
    kind, http = scheme.get("type"), str(scheme.get("scheme", "")).lower()
    if isinstance(credential, Bearer):
        return kind in ("oauth2", "openIdConnect") or (kind == "http" and http == "bearer")
    if isinstance(credential, Basic):
        return kind == "http" and http == "basic"
    if isinstance(credential, ClientCredentials):
        return kind in ("oauth2", "openIdConnect") or (kind == "http" and http == "bearer")
    same_place = credential.in_ in (None, scheme.get("in"))
    return kind == "apiKey" and same_place and credential.name in (None, scheme.get("name"))


def _schemes(document: Document) -> dict[str, Mapping[str, Any]]:
    if document.version == "2.0":
        section = document.root.get("securityDefinitions")
    else:
        components = document.root.get("components")
        section = components.get("securitySchemes") if isinstance(components, dict) else None
    found: dict[str, Mapping[str, Any]] = {}
    for name, node in (section if isinstance(section, dict) else {}).items():
        try:
            scheme, _ = document.object_at(node, document.base, "a security scheme")
        except OperationError:
            continue  # nothing fulfils a requirement that names it
        found[name] = scheme_of_2(scheme) if document.version == "2.0" else scheme
    return found
