"""The logging middleware, structured log lines, and how the program logs."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
from pydantic_core import to_json

from .calls import ToolCall
from .contracts import CallNext, Component, Middleware, OpenContext
from .errors import BrokerError
from .events import timestamp
from .models import Frozen

CALLS = "enclave_broker.calls"


class LoggingConfig(Frozen):
    """A log record for each call."""

    level: Literal["debug", "info"] = "info"
    """The level of calls that went well; those that failed are warnings."""


class LoggingMiddleware:
    """Logs each call's name, outcome and duration to the logger ``enclave_broker.calls``."""

    def __init__(self, level: int = logging.INFO) -> None:
        self._level = level
        self._logger = logging.getLogger(CALLS)

    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        started = time.perf_counter()
        outcome, level = "ok", self._level
        try:
            return await call_next(call)
        except BrokerError as error:
            outcome, level = error.code, logging.WARNING
            raise
        except anyio.get_cancelled_exc_class():
            outcome = "CANCELLED"
            raise
        except Exception as error:
            outcome, level = type(error).__name__, logging.WARNING
            raise
        finally:
            seconds = time.perf_counter() - started
            self._logger.log(
                level,
                "%s %s in %.1f ms",
                call.name,
                outcome,
                seconds * 1000,
                extra={"tool": call.name, "session": call.session_id, "call": call.id},
            )


@asynccontextmanager
async def open_logging(config: LoggingConfig, context: OpenContext) -> AsyncIterator[Middleware]:
    yield LoggingMiddleware(logging.getLevelNamesMapping()[config.level.upper()])


LOGGING = Component("logging", open_logging, LoggingConfig)


class LogSettings(Frozen):
    """``[logging]``: how the ``enclave-broker`` program logs. A program that opens a broker
    itself sets up its own logging."""

    format: Literal["text", "json"] = "text"
    """Readable lines, or one JSON object a line."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Records below this level are left out."""


def set_up_logging(settings: LogSettings) -> None:
    """Have this process log to stderr as it says, and nowhere else."""
    handler = logging.StreamHandler()
    if settings.format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(TextFormatter())
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)


WHERE = ("session", "call", "trace", "principal")
"""What places a line: fields of JSON, and in readable lines what follows the message."""


def placed(record: logging.LogRecord) -> Mapping[str, Any]:
    """What a tracer noted of where the record was made, in its ``placed``.

    It can't be among the record's own attributes, where it would keep ``extra`` from naming it.
    """
    found = vars(record).get("placed")
    return found if isinstance(found, Mapping) else {}


class TextFormatter(logging.Formatter):
    """A log record as a line for people; at its end, where it belongs, unless it says so itself."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        found = {**placed(record), **vars(record)}
        known = [(key, str(found[key])) for key in WHERE if found.get(key) is not None]
        # Some of it is what callers chose: it is not to make another line.
        where = " ".join(
            f"{key}={item if item.isprintable() else repr(item)}"
            for key, item in known
            if item not in line
        )
        return f"{line} [{where}]" if where else line


class JsonFormatter(logging.Formatter):
    """A log record as one line of JSON, with what was passed in ``extra``."""

    _STANDARD = frozenset(
        {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "placed"}
    )

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= placed(record)
        line |= {key: item for key, item in vars(record).items() if key not in self._STANDARD}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        try:
            return to_json(line, fallback=str).decode()
        except ValueError:
            plain = {key: str(item).encode("utf-8", "replace") for key, item in line.items()}
            return to_json(plain).decode()
