"""Tells a session how the catalog changed, as far as it may use it."""

from __future__ import annotations

from . import events
from .registry import Catalog
from .session import Session
from .surroundings import Visible


async def tell_of_change(session: Session, visible: Visible, old: Catalog, new: Catalog) -> None:
    """Write a ``catalog_changed`` event, if tools that the session may use came or went."""
    before = {spec.name for spec in (await visible(session, old)).values()}
    after = {spec.name for spec in (await visible(session, new)).values()}
    if before != after and not session.is_ending:
        added, removed = sorted(after - before), sorted(before - after)
        await session.emit(events.catalog_changed(str(new.version), added, removed))
