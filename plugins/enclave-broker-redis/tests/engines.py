"""Engines to test with, whose patience is short."""

from __future__ import annotations

import hashlib
from typing import Any

from enclave_broker_redis.config import RedisConfig
from enclave_broker_redis.ops import Op, Script

from enclave_broker_core.errors import StoreError

# Of those that are to give up: longer than a busy machine needs, and no test waits for long.
TIMEOUT = 0.5
RETRY_FOR = 1.0


def config(url: str, **settings: Any) -> RedisConfig:
    """A store's settings, with more patience than usual unless it is said otherwise."""
    patience = {"timeout": 10.0, "retry_for": 20.0}
    return RedisConfig.model_validate({"url": url} | patience | settings)


def hasty(url: str, **settings: Any) -> RedisConfig:
    """The settings of one that soon gives up."""
    return config(url, **({"timeout": TIMEOUT, "retry_for": RETRY_FOR} | settings))


class Inline(Script):
    """A script that a test has at hand."""

    def __init__(self, source: str, again: bool = True) -> None:
        super().__init__("take", again=again)
        self.source = source
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


def at_port(port: int) -> str:
    return f"redis://127.0.0.1:{port}"


async def outcome(op: Op) -> object:
    """The answer, or the error."""
    try:
        return await op
    except StoreError as problem:
        return problem


async def until_done(begin: Any) -> object:
    """The answer, after however many tries: what has gone comes back."""
    while True:
        answer = await outcome(begin())
        if not isinstance(answer, StoreError):
            return answer
