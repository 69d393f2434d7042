"""A decision of AccessController with many rules, against the floor of ``brokered_call``.

Half of the rules are prefixes, a quarter have a ``*`` in the middle, a quarter are exact, all
mixed; the last one is what matches. A name that was seen before is remembered, a fresh one is
looked up in an index of the rules. In ``alike`` all the rules begin with the same words, so
that what a name begins with tells nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from brokered_call import Case, floor

from enclave_broker_core import AccessController
from enclave_broker_core.contracts import AccessRequest
from enclave_broker_core.models import Verdict

TITLE = "access decision; the last of the rules matches"
TIMES = 200
COUNTS = (10, 100, 1000)
BARS = {
    **{f"{count} rules, seen": 0.5 for count in COUNTS},
    **{f"{count} rules, fresh": 5.0 for count in COUNTS},
    **{f"{count} rules alike, fresh": 5.0 for count in COUNTS},
}


def rules(count: int, *, alike: bool = False) -> Sequence[Mapping[str, Any]]:
    """So many rules; the last one is the prefix ``last:*``, or ``all:*:last`` when ``alike``."""
    made = []
    for n in range(count - 1):
        service = "all:one" if alike else f"service{n}"
        kinds = (f"{service}:part{n}*", f"{service}:*:get{n}", f"{service}x{n}*", f"{service}:{n}")
        made.append({"pattern": kinds[n % 4], "allow": False})
    return [*made, {"pattern": "all:*:last" if alike else "last:*", "allow": True}]


def seen(controller: AccessController) -> Case:
    request = AccessRequest("last:same", None, "s", {})

    async def case(n: int) -> None:
        for _ in range(n):
            await controller.decide(request)

    return case


def fresh(controller: AccessController, name: str) -> Case:
    numbers = itertools.count()

    async def case(n: int) -> None:
        for number in itertools.islice(numbers, n):
            request = AccessRequest(name % number, None, "s", {})
            assert (await controller.decide(request)).verdict is Verdict.ALLOW

    return case


@asynccontextmanager
async def cases() -> AsyncIterator[Mapping[str, Case]]:
    found: dict[str, Case] = {"floor": floor}
    for count in COUNTS:
        controller = AccessController(rules(count))
        alike = AccessController(rules(count, alike=True))
        found[f"{count} rules, seen"] = seen(controller)
        found[f"{count} rules, fresh"] = fresh(controller, "last:%d")
        found[f"{count} rules alike, fresh"] = fresh(alike, "all:one:%d:last")
    yield found
