"""One source's document: where it is, and the credentials that it is fetched with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from .authorising import Authoriser, Shown
from .config import OpenapiConfig
from .credentials import ApiKey, ClientCredentials, Credential, secret_names
from .fetching import Fetcher, Loaded, Stamp
from .security import Use

AskSecret = Callable[[str], Awaitable[str]]
"""The value of a secret by its name, from the broker's sources."""


class Source:
    """A document's place, with the credentials that it is fetched with."""

    def __init__(
        self,
        config: OpenapiConfig,
        fetcher: Fetcher,
        authoriser: Authoriser,
        ask_secret: AskSecret,
    ) -> None:
        self._given = None if isinstance(config.spec, str) else config.spec
        self._fetcher = fetcher
        self._authoriser = authoriser
        self._ask_secret = ask_secret
        self._uses = () if config.kind != "url" else uses_for_document(config)

    async def load(self) -> Loaded:
        """The whole document. BrokerErrors when it can't be had."""
        return await self._fetcher.load(self._given, await self._shown())

    async def has_changed(self, stamps: Mapping[str, Stamp]) -> bool:
        """Whether any part of it is another than when these stamps were taken."""
        newest = await self._fetcher.changed(stamps, await self._shown())
        return any(newest[uri].digest != stamp.digest for uri, stamp in stamps.items())

    async def _shown(self) -> Shown:
        names = secret_names(use.credential for use in self._uses)
        values = {name: await self._ask_secret(name) for name in names}
        return await self._authoriser.show(self._uses, values.__getitem__)


def uses_for_document(config: OpenapiConfig) -> tuple[Use, ...]:
    """The credentials that the document is fetched with: before it is there, none of it can
    say where a key goes, or where a token comes from.
    """
    uses = config.header_uses
    credential = next(iter(_credentials(config)), None)
    if isinstance(credential, ApiKey):
        if credential.name is not None:
            uses += (Use(credential, credential.in_ or "header", credential.name),)
    elif isinstance(credential, ClientCredentials):
        if credential.token_url is not None:
            scopes = credential.scopes or ()
            uses += (Use(credential, scopes=scopes, token_url=credential.token_url),)
    elif credential is not None:
        uses += (Use(credential),)
    return uses


def root_uri(config: OpenapiConfig, base_dir: str) -> str:
    """Where the document is. A table is taken to be in the configuration's folder."""
    if config.kind == "url":
        return str(config.spec).partition("#")[0]
    name = str(config.spec) if config.kind == "file" else "document.json"
    return (Path(base_dir) / name).resolve().as_uri()


def written_origins(config: OpenapiConfig) -> list[str]:
    """The URLs that the operator wrote: what they name may be reached."""
    urls = [root_uri(config, ".")] if config.kind == "url" else []
    urls += [config.server] if config.server is not None else []
    for one in _credentials(config):
        if isinstance(one, ClientCredentials) and one.token_url is not None:
            urls.append(one.token_url)
    return urls


def _credentials(config: OpenapiConfig) -> list[Credential]:
    if config.auth is None:
        return []
    return list(config.auth.values()) if isinstance(config.auth, Mapping) else [config.auth]
