"""Stores that bound how many sessions are open with one fault each, which the suite must find."""

from __future__ import annotations

from anyio.lowlevel import checkpoint
from enclave_broker_memory.session import StoredSession
from enclave_broker_memory.store import MemoryStore
from enclave_broker_memory.timeline import Timeline

from enclave_broker_core.errors import TooManySessionsError
from enclave_broker_core.events import Draft
from enclave_broker_core.models import Principal, SessionRecord, SessionState
from enclave_broker_core.testing.session_bounds import SessionBoundSuite


class LetsOneTooManyIn(MemoryStore):
    async def create(self, record: SessionRecord, **bounds: int | None) -> None:
        more = {name: most if most is None else most + 1 for name, most in bounds.items()}
        await super().create(record, **more)


class LetsOneTooManyOfAPrincipalIn(MemoryStore):
    async def create(
        self,
        record: SessionRecord,
        *,
        max_open: int | None = None,
        max_of_principal: int | None = None,
    ) -> None:
        more = None if max_of_principal is None else max_of_principal + 1
        await super().create(record, max_open=max_open, max_of_principal=more)


class LooksBeforeItCreates(MemoryStore):
    """Those that look at the same time all see that there is room."""

    async def create(self, record: SessionRecord, **bounds: int | None) -> None:
        if record.id not in self._sessions:
            await super().create(record, **bounds)
            await self.delete(record.id)
        await checkpoint()
        await super().create(record)


class LooksBeforeItCreatesForAPrincipal(MemoryStore):
    async def create(
        self,
        record: SessionRecord,
        *,
        max_open: int | None = None,
        max_of_principal: int | None = None,
    ) -> None:
        if record.id not in self._sessions and max_of_principal is not None:
            await super().create(record, max_of_principal=max_of_principal)
            await self.delete(record.id)
            await checkpoint()
        await super().create(record, max_open=max_open)


class GuessesWhenToRetry(MemoryStore):
    def _next_expiry(self, open: Timeline) -> float:
        return 1.0


class SaysToRetryInThePast(MemoryStore):
    def _next_expiry(self, open: Timeline) -> float:
        return open.first()[0] - self._clock()


class SaysWhenAnotherExpires(MemoryStore):
    """Tells a principal of the next session to expire, whosever it is."""

    def _next_expiry(self, open: Timeline) -> float:
        return super()._next_expiry(self._open.all)


class NamesNobody(MemoryStore):
    def _too_many(self, whose: str, open: Timeline, most: int) -> TooManySessionsError:
        return super()._too_many("", open, most)


class BlamesThePrincipal(MemoryStore):
    async def create(self, record: SessionRecord, **bounds: int | None) -> None:
        try:
            await super().create(record, **bounds)
        except TooManySessionsError as problem:
            raise TooManySessionsError(
                f"{record.principal_id!r} has too many", retry_after=problem.retry_after
            ) from None


class MixesTenants(MemoryStore):
    async def create(self, record: SessionRecord, **bounds: int | None) -> None:
        await super().create(record, **bounds)
        if record.principal is not None:
            self._share(record)

    def _share(self, record: SessionRecord) -> None:
        """Have all tenants' principals of this id share one count."""
        of = self._open._of
        principal = record.principal
        assert principal is not None
        for tenant in ("acme", "other", None):
            of[principal.id, tenant] = of[principal.id, principal.tenant]


class CountsWholeTenants(MemoryStore):
    async def create(self, record: SessionRecord, **bounds: int | None) -> None:
        principal = record.principal
        if principal is not None:
            everybody = Principal(id=principal.tenant or "nobody", tenant=principal.tenant)
            record = record.model_copy(update={"principal": everybody})
        await super().create(record, **bounds)


class BoundsTheProgramToo(MemoryStore):
    async def create(self, record: SessionRecord, **bounds: int | None) -> None:
        if record.principal is None:
            record = record.model_copy(update={"principal": Principal(id="nobody")})
        await super().create(record, **bounds)


class CountsEndedSessions(MemoryStore):
    """A principal's session counts until it is deleted."""

    async def end(self, session_id: str, final: Draft, state: SessionState, at: float) -> bool:
        session = self._get(session_id)
        ended = await super().end(session_id, final, state, at)
        if ended and session.principal_id is not None:
            self._open.add(session)
            self._open.all.remove(session.expires_at, session_id)
        return ended


class CountsTheRefused(MemoryStore):
    async def create(self, record: SessionRecord, **bounds: int | None) -> None:
        try:
            await super().create(record, **bounds)
        except TooManySessionsError:
            self._open.add(StoredSession(record, 0))
            raise


KNOWN_BAD = {
    SessionBoundSuite: {
        LetsOneTooManyIn: {"max_open_counts_the_sessions_that_have_not_ended"},
        LetsOneTooManyOfAPrincipalIn: {"max_of_principal_counts_its_sessions_that_have_not_ended"},
        LooksBeforeItCreates: {"max_open_holds_when_many_create_at_once"},
        LooksBeforeItCreatesForAPrincipal: {"max_of_principal_holds_when_many_create_at_once"},
        GuessesWhenToRetry: {"a_refusal_says_when_the_next_session_expires"},
        SaysToRetryInThePast: {"a_refusal_never_says_to_come_back_in_the_past"},
        SaysWhenAnotherExpires: {"a_refused_principal_is_told_when_its_own_next_session_expires"},
        NamesNobody: {"a_refusal_says_whose_bound_it_is"},
        BlamesThePrincipal: {"a_refusal_says_whose_bound_it_is"},
        MixesTenants: {"a_principal_is_an_id_and_a_tenant"},
        CountsWholeTenants: {"a_principal_is_an_id_and_a_tenant"},
        BoundsTheProgramToo: {"max_of_principal_does_not_bound_sessions_without_a_principal"},
        CountsTheRefused: {"who_is_refused_takes_no_place"},
        CountsEndedSessions: {"max_of_principal_counts_its_sessions_that_have_not_ended"},
    }
}
