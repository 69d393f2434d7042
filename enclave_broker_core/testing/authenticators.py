"""The conformance suite for authenticators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import MappingProxyType
from typing import ClassVar

import pytest

from enclave_broker_core.contracts import Authenticator, Credentials
from enclave_broker_core.errors import AccessDeniedError, BrokerError
from enclave_broker_core.models import Principal

from .checks import PatientSuite, cancel_at_each_wait, logged, sync_methods, told
from .samples import at_once

# As HTTP servers pass on header values: any byte is a character.
ODD_VALUES = (
    "",
    " ",
    "é ÿ",
    "\0",
    "a:b:c",
    ":",
    "=",
    "====",
    "....",
    "e30.e30.",
    "Og==",
    "null",
    "{}",
    "%00",
    "a" * 100_000,
)


def changed(credentials: Credentials, headers: Mapping[str, str]) -> Credentials:
    """The credentials with other headers besides, or instead, of their own."""
    return Credentials({**credentials.headers, **headers}, credentials.peer)


@pytest.mark.anyio
class AuthenticatorSuite(PatientSuite):
    """Every sentence of the Authenticator contract as a test.

    Subclass it as ``class TestMyAuthenticator(AuthenticatorSuite)``, override
    ``open_authenticator`` and give ``good`` credentials and whose they are, ``principal``;
    ``wrong`` ones, of the same kind; and ``foreign`` ones, of another kind or none. Give them
    no more headers than it takes: what stands in those of ``wrong``, and in ``secrets``, may
    appear in no error and no log::

        class TestMyAuthenticator(AuthenticatorSuite):
            good = Credentials({"authorization": "Bearer the-good-token"})
            principal = Principal(id="ada")
            wrong = Credentials({"authorization": "Bearer some-wrong-token"})

            @asynccontextmanager
            async def open_authenticator(self):
                yield MyAuthenticator(...)
    """

    good: ClassVar[Credentials]
    principal: ClassVar[Principal]
    wrong: ClassVar[Credentials]
    foreign: ClassVar[Sequence[Credentials]] = (Credentials({}),)
    secrets: ClassVar[Sequence[str]] = ()

    def open_authenticator(self) -> AbstractAsyncContextManager[Authenticator]:
        raise NotImplementedError("the subclass says how its authenticator is opened")

    async def _ask(self, authenticator: Authenticator, credentials: Credentials) -> object:
        """By a copy, so that what one test's authenticator does to it is not seen in another."""
        return await authenticator.authenticate(changed(credentials, {}))

    def _open(self) -> AbstractAsyncContextManager[Authenticator]:
        return self.patiently(self.open_authenticator())

    def _shown_in(self, text: str) -> list[str]:
        """What of the credentials is in a text: words of six characters or more."""
        values = [*self.secrets, *self.good.headers.values(), *self.wrong.headers.values()]
        words = {word for value in values for word in value.split() if len(word) >= 6}
        return sorted(word for word in words - {"Bearer", "Digest"} if word in text)

    def _altered(self) -> Iterator[Credentials]:
        """Good credentials of which something is missing or too much."""
        for name, value in self.good.headers.items():
            start, _, last = value.rpartition(" ")
            middle = len(last) // 2
            for text in (last[:middle], f"{last[:middle]}x{last[middle:]}", last[middle:]):
                yield changed(self.good, {name: f"{start} {text}" if start else text})

    async def test_authenticate_is_a_coroutine_function(self) -> None:
        async with self._open() as authenticator:
            assert sync_methods(authenticator, "authenticate") == []

    async def test_good_credentials_are_their_principal_s(self) -> None:
        """Header names come in lower case."""
        async with self._open() as authenticator:
            found = await self._ask(authenticator, self.good)
            assert type(found) is Principal
            assert found == self.principal

    async def test_wrong_credentials_are_an_access_denied_error(self) -> None:
        async with self._open() as authenticator:
            with pytest.raises(AccessDeniedError):
                await self._ask(authenticator, self.wrong)

    async def test_foreign_credentials_are_none(self) -> None:
        async with self._open() as authenticator:
            for foreign in self.foreign:
                assert await self._ask(authenticator, foreign) is None

    async def test_a_refusal_does_not_show_the_credentials(self) -> None:
        async with self._open() as authenticator:
            for credentials in (self.wrong, *self._altered()):
                try:
                    await self._ask(authenticator, credentials)
                except BrokerError as problem:
                    text = told(problem)
                    assert self._shown_in(text) == []
                    for value in credentials.headers.values():
                        assert len(value) < 6 or value not in text

    async def test_credentials_are_not_logged(self) -> None:
        with logged() as texts:
            async with self._open() as authenticator:
                for credentials in (self.good, self.wrong, *self.foreign):
                    try:
                        await self._ask(authenticator, credentials)
                    except AccessDeniedError:
                        continue
        assert self._shown_in("\n".join(texts)) == []

    async def test_the_authenticator_does_not_show_credentials(self) -> None:
        async with self._open() as authenticator:
            await self._ask(authenticator, self.good)
            assert self._shown_in(f"{authenticator!r} {authenticator}") == []

    async def test_altered_credentials_are_nobody_s(self) -> None:
        async with self._open() as authenticator:
            for credentials in self._altered():
                await self._is_nobody(authenticator, credentials)

    async def _is_nobody(self, authenticator: Authenticator, credentials: Credentials) -> None:
        try:
            assert await self._ask(authenticator, credentials) is None
        except BrokerError:
            return

    async def test_odd_headers_are_nobody_s(self) -> None:
        async with self._open() as authenticator:
            for name, value in self.good.headers.items():
                start, space, _ = value.rpartition(" ")
                for odd in ODD_VALUES:
                    for text in {odd, f"{start}{space}{odd}", f"{start}  {odd}"}:
                        await self._is_nobody(authenticator, changed(self.good, {name: text}))
            assert await self._ask(authenticator, self.good) == self.principal

    async def test_other_headers_change_nothing(self) -> None:
        others = {"x-unrelated": "1", "cookie": "a=b; c", "accept": "*/*", "x-é": "ÿ" * 10_000}
        async with self._open() as authenticator:
            found = await self._ask(authenticator, changed(self.good, others))
            assert found == self.principal
            with pytest.raises(AccessDeniedError):
                await self._ask(authenticator, changed(self.wrong, others))

    async def test_one_answer_does_not_change_the_next(self) -> None:
        async with self._open() as authenticator:
            for _ in range(3):
                with pytest.raises(AccessDeniedError):
                    await self._ask(authenticator, self.wrong)
                assert await self._ask(authenticator, self.good) == self.principal
                assert await self._ask(authenticator, self.foreign[0]) is None

    async def test_headers_stay_as_they_are(self) -> None:
        async with self._open() as authenticator:
            for credentials in (self.good, *self.foreign):
                headers = dict(credentials.headers)
                before = dict(headers)
                await authenticator.authenticate(Credentials(headers, credentials.peer))
                assert headers == before

    async def test_headers_may_be_any_mapping(self) -> None:
        async with self._open() as authenticator:
            headers = MappingProxyType(dict(self.good.headers))
            found = await authenticator.authenticate(Credentials(headers, self.good.peer))
            assert found == self.principal

    async def test_callers_at_once_do_not_mix(self) -> None:
        async with self._open() as authenticator:
            ask = partial(self._ask, authenticator)
            asked = [self.good, self.wrong, self.foreign[0]] * 5
            answers = await at_once([partial(ask, credentials) for credentials in asked])
            assert answers[0::3] == [self.principal] * 5
            assert [type(answer) for answer in answers[1::3]] == [AccessDeniedError] * 5
            assert answers[2::3] == [None] * 5

    async def test_a_question_can_be_cancelled_wherever_it_waits(self) -> None:
        async with self._open() as authenticator:
            await cancel_at_each_wait(partial(self._ask, authenticator, self.good))
            assert await self._ask(authenticator, self.good) == self.principal
            with pytest.raises(AccessDeniedError):
                await self._ask(authenticator, self.wrong)
