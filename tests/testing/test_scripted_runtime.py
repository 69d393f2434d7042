"""The kit's runtime keeps its contract: a program for each snippet of the suite."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from enclave_broker_core import ToolError
from enclave_broker_core.contracts import Runtime
from enclave_broker_core.testing.runtimes import RuntimeSuite
from enclave_broker_core.testing.scripted_runtime import Code, ScriptedRuntime


async def two(code: Code) -> int:
    return 2


async def echo(code: Code) -> Any:
    return await code.call("test:echo", value={"list": [1, 2.5, None, True, "é"]})


async def meet(code: Code) -> Any:
    return await code.gather(*[code.call("test:meet", count=3) for _ in range(3)])


async def print_call_print(code: Code) -> None:
    await code.print("before")
    await code.call("test:echo", value=1)
    await code.print("after")


async def print_and_never(code: Code) -> None:
    await code.print("before")
    await code.call("test:never")


async def define(code: Code) -> None:
    code.state["kept"] = 21


async def use(code: Code) -> Any:
    return code.state["kept"] * 2


async def is_defined(code: Code) -> bool:
    return "kept" in code.state


async def define_and_raise(code: Code) -> None:
    code.state["kept"] = 21
    raise ValueError("on purpose")


async def catch(code: Code) -> Any:
    try:
        return await code.call("test:fail", message="no luck")
    except ToolError as error:
        return [error.code, error.message]


async def not_caught(code: Code) -> None:
    await code.call("test:fail", message="no luck")


async def never(code: Code) -> None:
    await code.call("test:never")


async def never_beside_failure(code: Code) -> None:
    await code.gather(code.call("test:never"), code.call("test:fail", message="no luck"))


async def loop_for_ever(code: Code) -> None:
    await code.call("test:echo", value=1)
    await code.compute_for_ever()


async def allocate_for_ever(code: Code) -> None:
    raise MemoryError


async def recurse_for_ever(code: Code) -> None:
    await recurse_for_ever(code)


async def large_result(code: Code) -> str:
    return "x" * 10_000


async def large_output(code: Code) -> None:
    await code.print("x" * 10_000)
    await code.call("test:echo", value=1)


async def no_json(code: Code) -> float:
    return math.nan


PROGRAMS: Mapping[str, Any] = {
    function.__name__: function
    for function in (
        two,
        echo,
        meet,
        print_call_print,
        print_and_never,
        define,
        use,
        is_defined,
        define_and_raise,
        catch,
        not_caught,
        never,
        never_beside_failure,
        loop_for_ever,
        allocate_for_ever,
        recurse_for_ever,
        large_result,
        large_output,
        no_json,
    )
}


class TestScriptedRuntime(RuntimeSuite):
    bad_syntax = "there is none of this name"
    locals().update({name: name for name in PROGRAMS})

    @asynccontextmanager
    async def open_runtime(self) -> AsyncIterator[Runtime]:
        yield ScriptedRuntime(PROGRAMS)
