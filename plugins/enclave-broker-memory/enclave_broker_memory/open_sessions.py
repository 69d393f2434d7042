"""The sessions that have not ended, in the order in which they expire."""

from __future__ import annotations

from .session import StoredSession
from .timeline import Timeline


class OpenSessions:
    """Two views of the same sessions: ``all`` of them, and those ``of`` one principal."""

    def __init__(self) -> None:
        self.all = Timeline()
        self._of: dict[tuple[str, str | None], Timeline] = {}

    def of(self, principal_id: str, tenant: str | None) -> Timeline:
        """Those of one principal; to look at only."""
        return self._of.get((principal_id, tenant)) or Timeline()

    def add(self, session: StoredSession) -> None:
        self.all.add(session.expires_at, session.id)
        if session.principal_id is not None:
            owner = (session.principal_id, session.tenant)
            self._of.setdefault(owner, Timeline()).add(session.expires_at, session.id)

    def remove(self, session: StoredSession) -> None:
        self.all.remove(session.expires_at, session.id)
        if session.principal_id is not None:
            owner = (session.principal_id, session.tenant)
            self._of[owner].remove(session.expires_at, session.id)
            if not self._of[owner]:
                del self._of[owner]
