"""Authenticators with one fault each, which the suite must find."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Awaitable
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from enclave_broker_core.contracts import Credentials
from enclave_broker_core.errors import AccessDeniedError
from enclave_broker_core.models import Principal
from enclave_broker_core.testing.authenticators import AuthenticatorSuite


class ApiKeys:
    """Knows people by the digests of their keys, in ``Authorization: Bearer KEY``."""

    def __init__(self, keys: dict[str, Principal]) -> None:
        self._owners = {self.digest(key): owner for key, owner in keys.items()}

    @staticmethod
    def digest(key: str) -> str:
        return hashlib.sha256(key.encode()).hexdigest()

    async def authenticate(self, credentials: Credentials) -> Any:
        scheme, _, key = credentials.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        await checkpoint()
        return self.owner(key)

    def owner(self, key: str) -> Any:
        owner = self._owners.get(self.digest(key))
        if owner is None:
            raise AccessDeniedError("the API key is not known")
        return owner


class IsSilentlySync(ApiKeys):
    def authenticate(self, credentials: Credentials) -> Awaitable[Any]:  # type: ignore[override]
        return super().authenticate(credentials)


class SaysTrue(ApiKeys):
    def owner(self, key: str) -> Any:
        return bool(super().owner(key))


class SaysACoroutine(ApiKeys):
    async def authenticate(self, credentials: Credentials) -> Any:
        return super().authenticate(credentials)


class GivesADict(ApiKeys):
    def owner(self, key: str) -> Any:
        return super().owner(key).model_dump()


class HasNoneForWrong(ApiKeys):
    def owner(self, key: str) -> Any:
        return self._owners.get(self.digest(key))


class TakesWrongForAnonymous(ApiKeys):
    def owner(self, key: str) -> Any:
        return self._owners.get(self.digest(key), Principal.anonymous())


class RefusesForeign(ApiKeys):
    async def authenticate(self, credentials: Credentials) -> Any:
        if "authorization" not in credentials.headers:
            raise AccessDeniedError("show who you are")
        return await super().authenticate(credentials)


class LooksForUpperCase(ApiKeys):
    async def authenticate(self, credentials: Credentials) -> Any:
        headers = {"authorization": credentials.headers.get("Authorization", "")}
        return await super().authenticate(Credentials(headers))


class EchoesTheKey(ApiKeys):
    def owner(self, key: str) -> Any:
        if self.digest(key) not in self._owners:
            raise AccessDeniedError(f"the API key {key!r} is not known")
        return super().owner(key)


class EchoesTheKeyInTheCause(ApiKeys):
    def owner(self, key: str) -> Any:
        try:
            return {self.digest(known): known for known in ()}[key]
        except KeyError as problem:
            if self.digest(key) in self._owners:
                return super().owner(key)
            raise AccessDeniedError("the API key is not known") from problem


class LogsTheKey(ApiKeys):
    def owner(self, key: str) -> Any:
        logging.getLogger("keys").info("asked for %s", key)
        return super().owner(key)


class ShowsTheKey(ApiKeys):
    last = ""

    def owner(self, key: str) -> Any:
        self.last = key
        return super().owner(key)

    def __repr__(self) -> str:
        return f"ApiKeys(last={self.last!r})"


class ComparesPrefixes(ApiKeys):
    def __init__(self, keys: dict[str, Principal]) -> None:
        super().__init__(keys)
        self._keys = keys

    def owner(self, key: str) -> Any:
        for known, owner in self._keys.items():
            if key and known.startswith(key):
                return owner
        return super().owner(key)


class ComparesTexts(ApiKeys):
    """``compare_digest`` raises TypeError for what is not ASCII."""

    def __init__(self, keys: dict[str, Principal]) -> None:
        super().__init__(keys)
        self._keys = keys

    def owner(self, key: str) -> Any:
        for known in self._keys:
            hmac.compare_digest(known, key)
        return super().owner(key)


class RemembersTheLast(ApiKeys):
    last: Any = None

    def owner(self, key: str) -> Any:
        if self.last is None:
            self.last = super().owner(key)
        return self.last


class TakesHeadersOut(ApiKeys):
    async def authenticate(self, credentials: Credentials) -> Any:
        headers: Any = credentials.headers
        if isinstance(headers, dict):
            found = {"authorization": headers.pop("authorization", "")}
            return await super().authenticate(Credentials(found))
        return await super().authenticate(credentials)


class NeedsADict(ApiKeys):
    async def authenticate(self, credentials: Credentials) -> Any:
        headers: Any = credentials.headers
        headers.setdefault("authorization", "")
        return await super().authenticate(credentials)


class IsConfusedByCookies(ApiKeys):
    async def authenticate(self, credentials: Credentials) -> Any:
        if "cookie" in credentials.headers:
            return None
        return await super().authenticate(credentials)


class MixesCallers(ApiKeys):
    async def authenticate(self, credentials: Credentials) -> Any:
        self._credentials = credentials
        await checkpoint()
        return await super().authenticate(self._credentials)


class SwallowsItsCancellation(ApiKeys):
    async def authenticate(self, credentials: Credentials) -> Any:
        try:
            return await super().authenticate(credentials)
        except anyio.get_cancelled_exc_class():
            return None


KNOWN_BAD = {
    AuthenticatorSuite: {
        IsSilentlySync: {"authenticate_is_a_coroutine_function"},
        SaysTrue: {"good_credentials_are_their_principal_s"},
        SaysACoroutine: {"good_credentials_are_their_principal_s"},
        GivesADict: {"good_credentials_are_their_principal_s"},
        LooksForUpperCase: {"good_credentials_are_their_principal_s"},
        HasNoneForWrong: {"wrong_credentials_are_an_access_denied_error"},
        TakesWrongForAnonymous: {"wrong_credentials_are_an_access_denied_error"},
        RefusesForeign: {"foreign_credentials_are_none"},
        EchoesTheKey: {"a_refusal_does_not_show_the_credentials"},
        EchoesTheKeyInTheCause: {"a_refusal_does_not_show_the_credentials"},
        LogsTheKey: {"credentials_are_not_logged"},
        ShowsTheKey: {"the_authenticator_does_not_show_credentials"},
        ComparesPrefixes: {"altered_credentials_are_nobody_s"},
        ComparesTexts: {"odd_headers_are_nobody_s"},
        RemembersTheLast: {"one_answer_does_not_change_the_next"},
        TakesHeadersOut: {"headers_stay_as_they_are"},
        NeedsADict: {"headers_may_be_any_mapping"},
        IsConfusedByCookies: {"other_headers_change_nothing"},
        MixesCallers: {"callers_at_once_do_not_mix"},
        SwallowsItsCancellation: {"a_question_can_be_cancelled_wherever_it_waits"},
    }
}
