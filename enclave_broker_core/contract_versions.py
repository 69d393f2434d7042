"""The versions of each kind's contract: which this core takes, until when, and what to upgrade."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import importlib_metadata
from pydantic import BaseModel

from .contracts import Component, OpenContext
from .distributions import CORE
from .errors import PluginError


@dataclass(frozen=True, slots=True)
class ContractVersion:
    """One version of a contract, and the releases of the core that take it.

    ``since`` is the first of them. ``until`` is the first that takes it no more: as soon as
    that is said the version is deprecated, and in that release it is ``gone``. ``adapt`` makes
    of an open part one of the next version; None where the core can use it as it is.
    """

    number: int
    since: str
    until: str | None = None
    gone: bool = False
    adapt: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Contract:
    """All versions that a kind's contract ever had, from 1 on. ValueError for one left out.

    The newest is never deprecated, and what is gone is older than all that is taken.
    """

    versions: tuple[ContractVersion, ...]

    def __post_init__(self) -> None:
        if [one.number for one in self.versions] != list(range(1, len(self.versions) + 1)):
            raise ValueError("the versions of a contract are 1, 2, 3 and so on, none left out")
        if not self.versions or self.versions[-1].until is not None:
            raise ValueError("the newest version of a contract is neither deprecated nor gone")
        for older, newer in zip(self.versions, self.versions[1:], strict=False):
            if newer.gone and not older.gone:
                raise ValueError(f"version {older.number} is taken, and a newer one is gone")
        if any(one.gone and one.until is None for one in self.versions):
            raise ValueError("which release took a version no more is not forgotten")

    @property
    def newest(self) -> int:
        """What the core itself speaks."""
        return self.versions[-1].number

    @property
    def lasting(self) -> tuple[int, ...]:
        """The versions that are taken and not deprecated."""
        return tuple(one.number for one in self.versions if one.until is None)

    def find(self, number: object) -> ContractVersion | None:
        """The version of that number, if this core has ever heard of it."""
        return next((one for one in self.versions if one.number == number), None)

    def adapted(self, component: Component) -> Component:
        """The component, whose part, when it is open, is one of the newest version."""
        later = self.versions[component.contract - 1 :]
        steps = [version.adapt for version in later if version.adapt is not None]
        if not steps:
            return component

        @asynccontextmanager
        async def opened(config: BaseModel, context: OpenContext) -> AsyncIterator[Any]:
            async with component.open(config, context) as part:
                for step in steps:
                    part = step(part)
                yield part

        return replace(component, open=opened)


_FIRST = Contract((ContractVersion(1, since="0.1"),))

# By kind: every release of the core that changes one of them adds a line here.
CONTRACTS: Mapping[str, Contract] = {
    "store": _FIRST,
    "tools": _FIRST,
    "access": _FIRST,
    "limiter": _FIRST,
    "middleware": _FIRST,
    "runtime": _FIRST,
    "sink": _FIRST,
    "secrets": _FIRST,
    "authenticator": _FIRST,
    "routes": _FIRST,
}


@dataclass(frozen=True, slots=True)
class Maker:
    """Whose a part is: in words, and its distribution, None when it is not installed."""

    whose: str
    distribution: str | None

    def upgrade(self, versions: Sequence[int]) -> str:
        """What to do so that its parts are written for one of these versions."""
        wanted = f"version {_listed(versions, 'or')}"
        if self.distribution is None:
            return f"write it for {wanted}"
        return f"upgrade {self.distribution} to a release that is written for {wanted}"


def require_taken(contract: Contract, number: object, what: str, maker: Maker) -> None:
    """PluginError, which says what to upgrade, for a version that this core does not take.

    ``what`` is the part in words, such as "event sink 'a'".
    """
    here = f"{CORE} {importlib_metadata.version(CORE)}"
    written = f"{maker.whose}: its {what} is written for contract version {number}"
    if type(number) is not int or number < 1:
        raise PluginError(f"{written}, which is none; {maker.upgrade(contract.lasting)}")
    version = contract.find(number)
    if version is None:
        asked = _asked_of_core(maker.distribution)
        wants = f" ({maker.distribution} asks for {asked})" if asked else ""
        raise PluginError(
            f"{written}, and {here} knows none after {contract.newest};"
            f" upgrade {CORE} to a release that knows version {number}{wants}"
        )
    if version.gone:
        raise PluginError(
            f"{written}, which {CORE} takes no more since {version.until} (this is {here});"
            f" {maker.upgrade(contract.lasting)}, or stay with {CORE}<{version.until}"
        )


def deprecation(
    contract: Contract, number: int, names: Sequence[str], word: str, maker: Maker
) -> str | None:
    """What is said of parts of a kind that are written for a deprecated version, if it is one."""
    version = contract.find(number)
    if version is None or version.until is None:
        return None
    return (
        f"{maker.whose} offers {_listed([repr(name) for name in names], 'and')} as {word}, written"
        f" for contract version {number}: this is deprecated, and {CORE} {version.until} takes it"
        f" no more; {maker.upgrade(contract.lasting)}"
    )


def _listed(items: Sequence[object], word: str) -> str:
    *first, last = map(str, items)
    return f"{', '.join(first)} {word} {last}" if first else last


def _asked_of_core(distribution: str | None) -> str | None:
    """Which releases of the core a distribution asks for: ``enclave-broker-core>=0.3``."""
    if distribution is None:
        return None
    try:
        lines = importlib_metadata.requires(distribution) or []
    except importlib_metadata.PackageNotFoundError:
        return None
    for line in lines:
        wanted, _, _ = line.partition(";")
        name = re.match(r"[\w.-]*", wanted)
        if name and re.sub(r"[-_.]+", "-", name[0]).lower() == CORE and name[0] != wanted.strip():
            return wanted.strip()
    return None
