"""Stores that count calls with one fault each, which the suite must find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from anyio.lowlevel import checkpoint
from enclave_broker_memory.limiter import MemoryLimiter
from memory_backend import AdmittingReplica

from enclave_broker_core.events import Draft
from enclave_broker_core.models import Admission, Window
from enclave_broker_core.testing.admission_suite import AdmissionSuite


class CountsTheRefused(AdmittingReplica):
    """Counts in each window that has room, also when another has none."""

    async def admit(self, session_id: str, event: Draft, windows: Sequence[Window]) -> Admission:
        admission = await super().admit(session_id, event, windows)
        if not admission:
            for window in windows:
                await self.limiter.acquire([window])
        return admission


class CountsOneWindowAfterTheOther(AdmittingReplica):
    async def admit(self, session_id: str, event: Draft, windows: Sequence[Window]) -> Admission:
        await self.append(session_id, event)
        for window in windows:
            admission = await self.limiter.acquire([window])
            if not admission:
                return admission
        return Admission()


class CountsTheFirstWindowOnly(AdmittingReplica):
    async def admit(self, session_id: str, event: Draft, windows: Sequence[Window]) -> Admission:
        return await super().admit(session_id, event, windows[:1])


class WritesTheAdmittedOnly(AdmittingReplica):
    async def admit(self, session_id: str, event: Draft, windows: Sequence[Window]) -> Admission:
        admission = await self.limiter.acquire(windows)
        if admission:
            await self.append(session_id, event)
        return admission


class CountsBeforeItWrites(AdmittingReplica):
    """What could not be written is counted."""

    async def admit(self, session_id: str, event: Draft, windows: Sequence[Window]) -> Admission:
        admission = await self.limiter.acquire(windows)
        await self.append(session_id, event)
        return admission


class LooksBeforeItCounts(AdmittingReplica):
    """Those that look at the same time all see that there is room."""

    async def admit(self, session_id: str, event: Draft, windows: Sequence[Window]) -> Admission:
        await self.append(session_id, event)
        if 0 in await self.limiter.remaining(windows):
            return await self.limiter.acquire(windows)
        await checkpoint()
        await self.limiter.acquire(windows)
        return Admission()


class CountsItsOwn(AdmittingReplica):
    """Each replica counts for itself."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.limiter = MemoryLimiter()


class CountsElsewhere(AdmittingReplica):
    """What its limiter counts and what it counts itself are two things."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._counted = MemoryLimiter()

    async def admit(self, session_id: str, event: Draft, windows: Sequence[Window]) -> Admission:
        await self.append(session_id, event)
        return await self._counted.acquire(windows)


class SaysNothingOfWhen(AdmittingReplica):
    async def admit(self, session_id: str, event: Draft, windows: Sequence[Window]) -> Admission:
        return replace(await super().admit(session_id, event, windows), retry_after=0.0)


class WritesWhenItHasCounted(AdmittingReplica):
    """The counting takes its time, and what began later is written first."""

    async def admit(self, session_id: str, event: Draft, windows: Sequence[Window]) -> Admission:
        await checkpoint()
        return await super().admit(session_id, event, windows)


class AdmitsForAnybody(AdmittingReplica):
    async def admit(self, session_id: str, event: Draft, windows: Sequence[Window]) -> Admission:
        await self._backend.memory.append(session_id, event)
        return await self.limiter.acquire(windows)


KNOWN_BAD = {
    AdmissionSuite: {
        CountsTheRefused: {
            "a_refused_call_is_written_and_counts_nothing",
            "many_at_once_are_counted_exactly_and_written_in_order",
        },
        CountsOneWindowAfterTheOther: {
            "a_refused_call_is_written_and_counts_nothing",
            "many_at_once_are_counted_exactly_and_written_in_order",
        },
        CountsTheFirstWindowOnly: {
            "the_event_is_written_and_the_call_counted",
            "a_refused_call_is_written_and_counts_nothing",
            "many_at_once_are_counted_exactly_and_written_in_order",
        },
        WritesTheAdmittedOnly: {
            "a_refused_call_is_written_and_counts_nothing",
            "without_a_log_to_write_to_nothing_is_counted",
            "many_at_once_are_counted_exactly_and_written_in_order",
            "who_lost_the_session_has_nothing_admitted",
        },
        CountsBeforeItWrites: {
            "without_a_log_to_write_to_nothing_is_counted",
            "who_lost_the_session_has_nothing_admitted",
        },
        LooksBeforeItCounts: {"many_at_once_are_counted_exactly_and_written_in_order"},
        CountsItsOwn: {"many_at_once_are_counted_exactly_and_written_in_order"},
        CountsElsewhere: {
            "the_event_is_written_and_the_call_counted",
            "a_refused_call_is_written_and_counts_nothing",
            "many_at_once_are_counted_exactly_and_written_in_order",
        },
        SaysNothingOfWhen: {"a_refused_call_is_written_and_counts_nothing"},
        WritesWhenItHasCounted: {
            "appends_and_admissions_take_their_places_in_the_order_they_began"
        },
        AdmitsForAnybody: {"who_lost_the_session_has_nothing_admitted"},
    }
}
