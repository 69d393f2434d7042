"""The conformance suite for secret sources."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import ClassVar

import pytest

from enclave_broker_core.contracts import SecretSource
from enclave_broker_core.errors import BrokerError

from . import hostile
from .checks import PatientSuite, cancel_at_each_wait, logged, sync_methods, told
from .samples import at_once


@pytest.mark.anyio
class SecretSourceSuite(PatientSuite):
    """Every sentence of the SecretSource contract as a test.

    Subclass it as ``class TestMySource(SecretSourceSuite)``, override ``open_source`` and
    give ``known``: two or more names with the values that the source has for them, of eight
    characters or more. ``unknown`` is a name that it does not know. Two more things are
    tested when the subclass has them: ``rotate`` changes a secret in the place where the
    source finds it, ``open_broken_source`` opens one whose backend can't be read::

        class TestMySource(SecretSourceSuite):
            known = {"TOKEN": "a-long-token", "KEY": "another-value"}

            @asynccontextmanager
            async def open_source(self):
                self.vault = dict(self.known)
                yield MySource(self.vault)

            async def rotate(self, name, value):
                self.vault[name] = value
    """

    known: ClassVar[Mapping[str, str]]
    unknown: ClassVar[str] = "NO_SECRET_OF_THIS_NAME"

    def open_source(self) -> AbstractAsyncContextManager[SecretSource]:
        raise NotImplementedError("the subclass says how its source is opened")

    def open_broken_source(self) -> AbstractAsyncContextManager[SecretSource]:
        """A source that can't reach what it reads from."""
        pytest.skip("the subclass does not say how its source breaks")

    async def rotate(self, name: str, value: str) -> None:
        """Give a secret another value, behind the back of the source that is open."""
        pytest.skip("the subclass does not say how its secrets are rotated")

    def _open(self) -> AbstractAsyncContextManager[SecretSource]:
        return self.patiently(self.open_source())

    def _held_by(self, text: str) -> list[str]:
        """The names of the secrets whose values are in a text."""
        return [name for name, value in self.known.items() if value in text]

    async def test_get_is_a_coroutine_function(self) -> None:
        async with self._open() as source:
            assert sync_methods(source, "get") == []

    async def test_a_known_name_has_its_value(self) -> None:
        assert len(self.known) >= 2
        async with self._open() as source:
            for name, value in self.known.items():
                found = await source.get(name)
                assert type(found) is str
                assert found == value

    async def test_an_unknown_name_has_none(self) -> None:
        async with self._open() as source:
            assert await source.get(self.unknown) is None

    async def test_a_name_that_is_close_to_a_known_one_has_none(self) -> None:
        async with self._open() as source:
            for name in self.known:
                for close in (name[:-1], f"{name}_", f" {name}", f"{name}\n", f"./{name}"):
                    if close not in self.known:
                        assert await source.get(close) is None

    async def test_odd_names_have_none(self) -> None:
        async with self._open() as source:
            for name in hostile.NAMES:
                assert await source.get(name) is None

    async def test_asked_again_it_has_the_same(self) -> None:
        async with self._open() as source:
            for _ in range(3):
                assert await source.get(self.unknown) is None
                assert {name: await source.get(name) for name in self.known} == self.known

    async def test_values_are_not_shown_by_the_source(self) -> None:
        async with self._open() as source:
            for name in self.known:
                await source.get(name)
            assert self._held_by(f"{source!r} {source}") == []

    async def test_values_are_not_logged(self) -> None:
        with logged() as texts:
            async with self._open() as source:
                for name in (*self.known, self.unknown):
                    await source.get(name)
        assert self._held_by("\n".join(texts)) == []

    async def test_questions_at_once_do_not_mix(self) -> None:
        async with self._open() as source:
            names = [*self.known, self.unknown] * 6
            answers = await at_once([partial(source.get, name) for name in names])
            assert answers == [self.known.get(name) for name in names]

    async def test_a_question_can_be_cancelled_wherever_it_waits(self) -> None:
        async with self._open() as source:
            for name in (*self.known, self.unknown):
                await cancel_at_each_wait(partial(source.get, name))
                assert await source.get(name) == self.known.get(name)

    async def test_a_value_is_the_one_of_now(self) -> None:
        async with self._open() as source:
            name, *others = self.known
            assert await source.get(name) == self.known[name]
            await self.rotate(name, "rotated-to-this")
            assert await source.get(name) == "rotated-to-this"
            assert [await source.get(other) for other in others] == [
                self.known[other] for other in others
            ]

    async def test_a_backend_that_fails_is_a_broker_error_without_values(self) -> None:
        with logged() as texts:
            async with self.patiently(self.open_broken_source()) as source:
                for name in self.known:
                    with pytest.raises(BrokerError) as caught:
                        await source.get(name)
                    assert self._held_by(told(caught.value)) == []
        assert self._held_by("\n".join(texts)) == []
