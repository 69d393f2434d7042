"""What every part of a client shares: how it asks, and how it follows."""

from __future__ import annotations

from collections.abc import Mapping

from .address import Address
from .asking import Asking, new_session_id, require_session_id
from .driving import Wire
from .following import Following
from .options import Filter, SessionOptions
from .outcomes import Outcome
from .settings import ClientSettings


class Connection:
    """A server, and what to say to it; nothing here waits for anything."""

    def __init__(
        self,
        base_url: str,
        token: str | None,
        headers: Mapping[str, str] | None,
        settings: ClientSettings | None,
    ) -> None:
        self._address = Address(base_url, token, headers)
        self.settings = settings or ClientSettings()
        self.asking = Asking(self.settings)
        self.wire = Wire(self._address, self.settings)

    def running(
        self, code: str, session_id: str | None, filter: Filter | None, options: SessionOptions
    ) -> Following:
        """Follows a session that is made to run code, and ends with it."""
        session_id = new_session_id() if session_id is None else require_session_id(session_id)
        opening = self.asking.running(session_id, code, options, filter)
        return Following(
            session_id,
            self.settings,
            filter=filter,
            opening=opening,
            outcome=Outcome(last=True),
        )

    def executing(self, session_id: str, code: str, filter: Filter | None) -> Following:
        """Follows one run in a session."""
        return Following(
            session_id,
            self.settings,
            filter=filter,
            opening=self.asking.executing(session_id, code, filter),
            repeatable=False,
            outcome=Outcome(last=False),
        )

    def following(self, session_id: str, from_seq: int, filter: Filter | None) -> Following:
        return Following(
            require_session_id(session_id), self.settings, from_seq=from_seq, filter=filter
        )

    def __repr__(self) -> str:
        return repr(self._address)
