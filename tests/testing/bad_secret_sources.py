"""Sources of secrets with one fault each, which the suite must find."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from enclave_broker_core.errors import SecretError
from enclave_broker_core.testing.secret_sources import SecretSourceSuite


class Vault:
    """Reads a mapping that it is given, and waits as if it were far away."""

    def __init__(self, values: dict[str, str], *, broken: bool = False) -> None:
        self._values = values
        self._broken = broken

    async def get(self, name: str) -> str | None:
        await checkpoint()
        if self._broken:
            raise self.failure(name)
        return self._values.get(name)

    def failure(self, name: str) -> Exception:
        return SecretError(f"the vault can't be read for {name!r}")


class IsSilentlySync(Vault):
    def get(self, name: str) -> Awaitable[str | None]:  # type: ignore[override]
        return super().get(name)


class RaisesForUnknown(Vault):
    async def get(self, name: str) -> str | None:
        value = await super().get(name)
        if value is None:
            raise SecretError(f"no secret named {name!r}")
        return value


class HasEmptyForUnknown(Vault):
    async def get(self, name: str) -> str | None:
        return await super().get(name) or ""


class GivesBytes(Vault):
    async def get(self, name: str) -> Any:
        value = await super().get(name)
        return None if value is None else value.encode()


class TrimsNames(Vault):
    async def get(self, name: str) -> str | None:
        return await super().get(name.strip())


class ShowsItsValues(Vault):
    def __repr__(self) -> str:
        return f"Vault({self._values})"


class LogsItsValues(Vault):
    async def get(self, name: str) -> str | None:
        value = await super().get(name)
        logging.getLogger("vault").debug("%s is %s", name, value)
        return value


class Remembers(Vault):
    def __init__(self, values: dict[str, str], *, broken: bool = False) -> None:
        super().__init__(dict(values), broken=broken)


class GivesASecretOnce(Vault):
    async def get(self, name: str) -> str | None:
        value = await super().get(name)
        self._values.pop(name, None)
        return value


class MixesNames(Vault):
    async def get(self, name: str) -> str | None:
        self._name = name
        await checkpoint()
        return await super().get(self._name)


class SwallowsItsCancellation(Vault):
    async def get(self, name: str) -> str | None:
        try:
            return await super().get(name)
        except anyio.get_cancelled_exc_class():
            return None


class ShowsValuesInErrors(Vault):
    def failure(self, name: str) -> Exception:
        return SecretError(f"read {self._values} and then failed")


class ShowsValuesInTheCause(Vault):
    def failure(self, name: str) -> Exception:
        problem = SecretError("the vault can't be read")
        problem.__cause__ = ValueError(f"can't decode {self._values[name]!r}")
        return problem


class RaisesWhatComes(Vault):
    def failure(self, name: str) -> Exception:
        return ConnectionError("no vault")


class Files(Vault):
    """A file for each secret, found by whatever name is asked for."""

    def __init__(self, values: dict[str, str], *, broken: bool = False) -> None:
        super().__init__(values, broken=broken)

    async def get(self, name: str) -> str | None:
        value = await super().get(name)
        if value is not None or not name:
            return value
        path = Path("/nowhere") / name
        return path.read_text() if path.is_file() else None


KNOWN_BAD = {
    SecretSourceSuite: {
        IsSilentlySync: {"get_is_a_coroutine_function"},
        RaisesForUnknown: {"an_unknown_name_has_none"},
        HasEmptyForUnknown: {"an_unknown_name_has_none"},
        GivesBytes: {"a_known_name_has_its_value"},
        TrimsNames: {"a_name_that_is_close_to_a_known_one_has_none"},
        ShowsItsValues: {"values_are_not_shown_by_the_source"},
        LogsItsValues: {"values_are_not_logged"},
        Remembers: {"a_value_is_the_one_of_now"},
        GivesASecretOnce: {"asked_again_it_has_the_same"},
        MixesNames: {"questions_at_once_do_not_mix"},
        SwallowsItsCancellation: {"a_question_can_be_cancelled_wherever_it_waits"},
        ShowsValuesInErrors: {"a_backend_that_fails_is_a_broker_error_without_values"},
        ShowsValuesInTheCause: {"a_backend_that_fails_is_a_broker_error_without_values"},
        RaisesWhatComes: {"a_backend_that_fails_is_a_broker_error_without_values"},
        Files: {"odd_names_have_none"},
    }
}
