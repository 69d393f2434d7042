"""What a durable session needs, and how one is gone on with when its process has gone."""

from __future__ import annotations

from .durable_code import DurableCode, lost, require_durable_runtime
from .durable_runs import Durability
from .durable_state import StateRefusedError
from .errors import ArgumentsError, ConfigError
from .models import SessionSettings
from .seals import Seal
from .session import Session
from .session_store import SessionStore
from .store_abilities import DurableStore
from .surroundings import Surroundings


def durability(store: SessionStore, settings: SessionSettings) -> Durability | None:
    """What the store and the settings make of it; None when one of them lacks something."""
    first = settings.durable_key
    if first is None or not isinstance(store, DurableStore):
        return None
    keys = [key.get_secret_value().encode() for key in (first, *settings.former_durable_keys)]
    return Durability(store, Seal(keys), settings.max_durable_bytes)


def require_durable(around: Surroundings, runtime: str | None) -> None:
    """ArgumentsError, which says what is missing, when there can be no durable session."""
    missing = []
    if not isinstance(around.store, DurableStore):
        missing.append("the store keeps no state of running code")
    elif around.durability is None:
        missing.append("no durable_key is configured for sessions")
    try:
        require_durable_runtime(around, runtime)
    except ConfigError as problem:
        missing.append(problem.message)
    if missing:
        raise ArgumentsError(f"there can be no durable session here: {'; '.join(missing)}")


def require_durability(around: Surroundings) -> None:
    """ConfigError when this broker can go on with no durable session."""
    if around.durability is None:
        raise ConfigError("a durable session is here to be gone on with: it needs a durable_key")


async def go_on(session: Session) -> None:
    """Go on with a durable session that another process began.

    Returns when it is settled how; a run goes on in the background. It ends as lost when its
    saved state is refused, or when it is not known whether a call was done that can't be
    repeated. What it raises, as ConfigError when the runtime is missing here, means that
    nothing was done, and this process has the session no more.
    """
    code = session.code
    try:
        if isinstance(code, DurableCode):
            await code.take_up()
    except StateRefusedError as refusal:
        await session.end(lost(str(refusal)))
    except BaseException:
        session.lose(lost("this one could not go on with it"))
        raise
