"""What a plugin's route asks of the door that stands before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RouteTraits:
    """The attribute ``enclave`` of a route whose path has no parameters.

    ``public``: nobody is asked who they are. ``challenge`` is what ``WWW-Authenticate`` says to
    who is not known. ``request_headers`` and ``answer_headers`` are those that web pages of
    allowed origins may send and read there besides the usual ones. ``on_drain`` is called, once,
    when the server is told to stop and takes nothing new.
    """

    public: bool = False
    challenge: str | None = None
    request_headers: tuple[str, ...] = ()
    answer_headers: tuple[str, ...] = ()
    on_drain: Callable[[], None] | None = None
