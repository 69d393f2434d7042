"""Takes in a request's body before anything is made of it: bounded in size and in time."""

from __future__ import annotations

import anyio
from starlette.types import Message, Receive, Scope


class RefusedError(Exception):
    """A request that is answered with a status and a message, and goes no further."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class GoneError(Exception):
    """The client went away before its request was whole: nobody is there to be answered."""


async def whole(scope: Scope, receive: Receive, most: int, seconds: float) -> Receive:
    """A ``receive`` that has the whole body at once. RefusedError 413 and 408, GoneError."""
    announced = next((value for key, value in scope["headers"] if key == b"content-length"), b"")
    if announced.isdigit() and int(announced[:20]) > most:
        raise _too_large(most)
    body = bytearray()
    with anyio.move_on_after(seconds) as waiting:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise GoneError
            body += message.get("body", b"")
            if len(body) > most:
                raise _too_large(most)
            if not message.get("more_body", False):
                break
    if waiting.cancelled_caught:
        raise RefusedError(408, f"the body did not come in {seconds:g} s", connection="close")
    kept: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

    async def again() -> Message:
        return kept.pop() if kept else await receive()

    return again


def _too_large(most: int) -> RefusedError:
    # What is still to come is not read: the connection can't be used again.
    return RefusedError(413, f"the body is larger than {most} bytes", connection="close")
