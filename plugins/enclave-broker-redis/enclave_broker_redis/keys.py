"""The names of the keys: those of a session share a slot, and so do those of all sessions."""

from __future__ import annotations

import json


class Keys:
    """All keys begin with ``prefix``. Those for all sessions have it as their hash tag too."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._all = all = f"{prefix}:{{{prefix}}}:"
        self.number = f"{all}n"
        self.order = f"{all}order"
        self.open = f"{all}open"
        self.ended = f"{all}ended"
        self.gone = f"{all}gone"
        self.whose = f"{all}whose"
        self.replicas = f"{all}replicas"
        self.dead = f"{all}dead"

    def of(self, session_id: str, what: str) -> str:
        return f"{self._prefix}:{{{session_id}}}:{what}"

    def shared(self, what: str) -> str:
        """Another one for all sessions."""
        return self._all + what

    def window(self, key: str) -> str:
        """Of one that is no session's: wherever its key is."""
        return f"{self._prefix}:w:{key}"

    def inbox(self, replica: str) -> str:
        return f"{self._prefix}:{{inbox:{replica}}}"

    def holds(self, replica: str) -> str:
        return f"{self._all}holds:{replica}"

    def by_principal(self, principal_id: str) -> str:
        return f"{self._all}by:p:{principal_id}"

    def by_tenant(self, tenant: str) -> str:
        return f"{self._all}by:t:{tenant}"

    def by_both(self, principal_id: str, tenant: str | None) -> str:
        return f"{self._all}by:w:{json.dumps([principal_id, tenant])}"

    def open_of(self, principal_id: str, tenant: str | None) -> str:
        return f"{self._all}open:w:{json.dumps([principal_id, tenant])}"
