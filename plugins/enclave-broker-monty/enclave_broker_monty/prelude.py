"""The two names with which sandboxed code reads a tool's error.

An exception crosses into the sandbox as one of the builtin types and one string, and
the sandbox has no inheritance: an own exception class is not possible there. So a tool's
error is a RuntimeError whose text is ``CODE: message``, perhaps with the time to wait at
its end, and ``tool_error`` takes that text apart again, inside the sandbox.
"""

from __future__ import annotations

from enclave_broker_core.errors import BrokerError

SOURCE = """\
ToolError = RuntimeError

class ToolFailure:
    def __init__(self, code, message, retry_after):
        self.code = code
        self.message = message
        self.retry_after = retry_after

def tool_error(error):
    text = str(error)
    code, colon, message = text.partition(": ")
    if not colon or not code.replace("_", "").isalnum() or code != code.upper():
        return ToolFailure("RUNTIME_ERROR", text, None)
    retry_after = None
    if message.endswith(" s)"):
        words, _, seconds = message[:-3].rpartition(" (retry after ")
        try:
            retry_after = float(seconds)
            message = words
        except ValueError:
            pass
    return ToolFailure(code, message, retry_after)
"""

STUBS = """\
import builtins as _b
import typing as _t

ToolError = RuntimeError

class ToolFailure:
    code: _b.str
    message: _b.str
    retry_after: _b.float | None

def tool_error(error: _b.BaseException) -> ToolFailure: ...
async def call_tool(name: _b.str, args: _t.Mapping[_b.str, _t.Any] | None = None) -> _t.Any: ...
"""


def needed_by(code: str) -> bool:
    """Whether ``code`` may use the prelude: running it costs most of a millisecond."""
    return "ToolError" in code or "tool_error" in code


def as_exception(error: BrokerError) -> RuntimeError:
    """The exception that sandboxed code sees in place of ``error``."""
    text = f"{error.code}: {error.message}"
    if error.retry_after is not None:
        text += f" (retry after {error.retry_after:.3f} s)"
    return RuntimeError(text)
