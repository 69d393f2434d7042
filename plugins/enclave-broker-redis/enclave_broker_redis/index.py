"""What is known of all sessions: their order, whose they are, how many are open."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from enclave_broker_core.models import SessionRecord

from .engine import Engine
from .keys import Keys
from .ops import Argument, Script

RESERVE = Script("reserve")
CONCLUDE = Script("conclude")
HAND_OVER = Script("hand_over")
FORGET = Script("forget")
PAGE = Script("page")

# How many sessions one script looks at.
LOOKED_AT = 500


@dataclass(frozen=True)
class Whose:
    """Whose a session is, which replica holds it, and which creation of its id it is."""

    principal_id: str | None
    tenant: str | None
    replica: str
    creation: str

    @classmethod
    def of(cls, record: SessionRecord, replica: str, creation: str) -> Whose:
        principal = record.principal
        if principal is None:
            return cls(None, None, replica, creation)
        return cls(principal.id, principal.tenant, replica, creation)

    @classmethod
    def from_json(cls, text: bytes) -> Whose:
        return cls(*json.loads(text))

    def to_json(self) -> str:
        return json.dumps([self.principal_id, self.tenant, self.replica, self.creation])


class Index:
    """The lists of all sessions; each change is one step."""

    def __init__(self, engine: Engine, keys: Keys, max_ended: int) -> None:
        self._engine = engine
        self._keys = keys
        self._max_ended = max_ended

    async def reserve(
        self,
        record: SessionRecord,
        whose: Whose,
        max_open: int | None,
        max_of_principal: int | None,
    ) -> list[Any]:
        """Take a place: ``[b"ok"]``, ``[b"exists"]``, ``[b"dead"]`` when the replica has
        no lease, or whose bound it is, with the number of
        those that are open and when the next of them expires: ``[b"principal", 3, b"17.5"]``."""
        keys = self._keys
        names = [keys.number, keys.order, keys.open, keys.whose, keys.gone]
        names += [
            keys.replicas,
            keys.holds(whose.replica),
            *self._open_of(whose),
            *self._lists(whose),
        ]
        arguments: list[Argument] = [record.id, record.expires_at, whose.to_json()]
        arguments.append(whose.replica)
        arguments.append(int(whose.principal_id is not None))
        arguments += ["" if most is None else most for most in (max_open, max_of_principal)]
        found: list[Any] = await self._engine.run(RESERVE, names, arguments).finished()
        return found

    async def conclude(self, session_id: str, whose: Whose, at: float) -> list[str]:
        """The session has ended and takes no place any more; those that are kept too long."""
        keys = self._keys
        while True:
            names = [keys.open, keys.ended, keys.whose, keys.holds(whose.replica)]
            names += self._open_of(whose)
            arguments: list[Argument] = [session_id, at, self._max_ended, whose.to_json()]
            over = await self._engine.run(CONCLUDE, names, arguments)
            if over != 0:
                return [id.decode() for id in over]
            now = await self.whose(session_id)
            if now is None or now.creation != whose.creation:
                return []
            whose = now

    async def hand_over(self, session_id: str, whose: Whose, dead: str, heir: str) -> None:
        """What one replica held another holds now."""
        keys = self._keys
        now = replace(whose, replica=heir)
        names = [keys.whose, keys.holds(dead), keys.holds(heir), keys.open]
        await self._engine.run(HAND_OVER, names, [session_id, whose.to_json(), now.to_json()])

    async def whose(self, session_id: str) -> Whose | None:
        found = await self._engine.do("HGET", self._keys.whose, session_id)
        return None if found is None else Whose.from_json(found)

    async def forget(self, session_id: str, whose: Whose, *, ended: bool = False) -> bool:
        """Take the session out of all lists; False when it was not there, or another one is.

        Also when it has to have ``ended`` and, for all that the lists know, has not.
        """
        keys = self._keys
        names = [keys.order, keys.gone, keys.whose, keys.holds(whose.replica)]
        names += [keys.open, keys.ended, *self._open_of(whose), *self._lists(whose)]
        arguments: list[Argument] = [session_id, whose.to_json(), self._max_ended, int(ended)]
        forgotten: int = await self._engine.run(FORGET, names, arguments).finished()
        return forgotten == 1

    async def number(self, session_id: str) -> float | None:
        """The place of the session in the order of creation, also when it was deleted."""
        there = self._engine.do("ZSCORE", self._keys.order, session_id)
        gone = self._engine.do("ZSCORE", self._keys.gone, session_id)
        found = await there or await gone
        return None if found is None else float(found)

    async def page(
        self,
        principal_id: str | None,
        tenant: str | None,
        include_ended: bool,
        limit: int,
        after: float,
    ) -> tuple[list[str], float | None]:
        """Up to ``limit`` ids behind a number, and the number behind which there may be more."""
        keys = self._keys
        if principal_id is None:
            name = keys.order if tenant is None else keys.by_tenant(tenant)
        elif tenant is None:
            name = keys.by_principal(principal_id)
        else:
            name = keys.by_both(principal_id, tenant)
        names = [name] if include_ended else [name, keys.open]
        upto, ids = await self._engine.run(PAGE, names, [repr(after), limit, LOOKED_AT])
        return [id.decode() for id in ids], float(upto) if upto else None

    async def ended_before(self, at: float) -> list[str]:
        found = await self._engine.do(
            "ZRANGEBYSCORE", self._keys.ended, "-inf", f"({at!r}", "LIMIT", 0, LOOKED_AT
        )
        return [id.decode() for id in found]

    def _open_of(self, whose: Whose) -> Sequence[str]:
        if whose.principal_id is None:
            return ()
        return (self._keys.open_of(whose.principal_id, whose.tenant),)

    def _lists(self, whose: Whose) -> Sequence[str]:
        """The lists that the session is in, besides that of all."""
        if whose.principal_id is None:
            return ()
        keys, id, tenant = self._keys, whose.principal_id, whose.tenant
        lists = (keys.by_principal(id), keys.by_both(id, tenant))
        return lists if tenant is None else (*lists, keys.by_tenant(tenant))
