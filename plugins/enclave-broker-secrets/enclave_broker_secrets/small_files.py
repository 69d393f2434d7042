"""Reads small files, and tells by a look at a file's dates whether it is still the same."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Generic, TypeVar

from enclave_broker_core.errors import SecretError

T = TypeVar("T")

# A file that was changed no longer ago than this, in seconds, may change again without its
# dates showing it: they are no finer than a tick of the kernel, on some systems two seconds.
SETTLED = 2.0

# How often reading begins anew when the file was replaced meanwhile.
ATTEMPTS = 20


class ReplacedError(Exception):
    """The file is not there any more, or changed while it was read."""


class Kept(Generic[T]):
    """What was made of a file that looked like ``found`` at the time ``now``."""

    __slots__ = ("_settled", "_stamp", "value")

    def __init__(self, value: T, found: os.stat_result, now: float) -> None:
        self.value = value
        self._stamp = stamp(found)
        self._settled = now - found.st_ctime > SETTLED

    def is_of(self, found: os.stat_result) -> bool:
        """Whether a file that looks so now has the same content for certain."""
        return self._settled and self._stamp == stamp(found)


def stamp(found: os.stat_result) -> tuple[int, ...]:
    """What differs as soon as a file was replaced, written to, or given other permissions."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def read(path: str, max_bytes: int) -> tuple[bytes, os.stat_result]:
    """The content of a regular file that is no link, and how it looks.

    ReplacedError when it changed meanwhile, SecretError when it is larger or something else.
    """
    # Without O_NONBLOCK a pipe of that name would be waited for.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags)
        try:
            return _content(descriptor, path, max_bytes)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise ReplacedError from None
    except OSError as problem:
        raise SecretError(f"{path} can't be read: {problem.strerror}") from None


def _content(descriptor: int, path: str, max_bytes: int) -> tuple[bytes, os.stat_result]:
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        raise SecretError(f"{path} is no file")
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise SecretError(f"{path} is larger than {max_bytes} bytes")
    if stamp(os.fstat(descriptor)) != stamp(before):
        raise ReplacedError
    return content, before


def persistently(path: str, load: Callable[[], T]) -> T | None:
    """What ``load`` returns; None when the file has gone. SecretError when it never rests."""
    for _ in range(ATTEMPTS):
        try:
            return load()
        except ReplacedError:
            continue
    if not os.path.exists(path):
        return None
    raise SecretError(f"{path} changes while it is read")


def text_of(content: bytes) -> str | None:
    """None when it is no UTF-8. The error of Python holds the content, so it goes no further."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None
