"""Providers and tools with one fault each, which the suite must find."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from enclave_broker_core.contracts import Publish, Tool, ToolContext
from enclave_broker_core.errors import ArgumentsError
from enclave_broker_core.json_form import NotJsonError, parse
from enclave_broker_core.models import ToolSpec
from enclave_broker_core.testing.providers import ToolProviderSuite


class World:
    """What the provider reads: the names of its tools, and who waits there."""

    def __init__(self) -> None:
        self.names = ["join", "wait"]
        self.waiting = 0
        self.changed = anyio.Event()

    def add(self, name: str) -> None:
        self.names = [*self.names, name]
        self.changed.set()
        self.changed = anyio.Event()


class Join:
    """Joins words by a separator; the one named ``wait`` waits for ever."""

    def __init__(self, name: str, world: World) -> None:
        self._world = world
        self.spec = ToolSpec(name=name, input_schema=self.schema())

    def schema(self) -> dict[str, Any]:
        words = {"type": "array", "items": {"type": "string"}}
        return {"type": "object", "properties": {"words": words}, "required": ["words"]}

    def validate(self, arguments_json: bytes) -> Any:
        try:
            arguments = parse(arguments_json)
        except NotJsonError as problem:
            raise ArgumentsError(f"no JSON: {problem}") from None
        if not isinstance(arguments, dict):
            raise ArgumentsError("no object")
        words = arguments.get("words")
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise self.wrong(words)
        return arguments

    def wrong(self, words: Any) -> Exception:
        reason = "is no list of words"
        return ArgumentsError(f"words {reason}", fields=[("words", reason)])

    def dump(self, arguments: Any) -> Any:
        return {"words": list(arguments["words"])}

    async def invoke(self, arguments: Any, context: ToolContext) -> Any:
        if self.spec.name == "wait":
            return await self.wait()
        await context.progress("processing")
        return "-".join(arguments["words"])

    async def wait(self) -> None:
        self._world.waiting += 1
        try:
            await anyio.sleep_forever()
        finally:
            self._world.waiting -= 1


class Provider:
    tool: type[Join] = Join

    def __init__(self, world: World) -> None:
        self._world = world

    async def tools(self) -> Sequence[Tool]:
        await checkpoint()
        return [self.tool(name, self._world) for name in self._world.names]

    async def watch(self, publish: Publish) -> None:
        while True:
            await self._world.changed.wait()
            await publish(await self.tools())


# Providers


class IsSilentlySync(Provider):
    def tools(self) -> Awaitable[Sequence[Tool]]:  # type: ignore[override]
        return super().tools()


class BringsOneTwice(Provider):
    async def tools(self) -> Sequence[Tool]:
        tools = list(await super().tools())
        return [*tools, tools[0]]


class BringsThemOnce(Provider):
    done = False

    async def tools(self) -> Sequence[Tool]:
        tools, self.done = ([] if self.done else await super().tools()), True
        return tools


class SharesItsList(Provider):
    kept: Any = None

    async def tools(self) -> Sequence[Tool]:
        if self.kept is None:
            self.kept = list(await super().tools())
        kept: Sequence[Tool] = self.kept
        return kept


class PublishesTheNewOnly(Provider):
    async def watch(self, publish: Publish) -> None:
        before = len(self._world.names)
        await self._world.changed.wait()
        await publish([*await self.tools()][before:])


class PublishesTheOld(Provider):
    async def watch(self, publish: Publish) -> None:
        tools = await self.tools()
        await self._world.changed.wait()
        await publish(tools)


class ForgetsToAwaitPublish(Provider):
    async def watch(self, publish: Publish) -> None:
        await self._world.changed.wait()
        publish(await self.tools())
        await anyio.sleep_forever()


class NoticesNothing(Provider):
    async def watch(self, publish: Publish) -> None:
        return


class LeavesATask(Provider):
    """Watches in a task of its own, that the broker can't cancel."""

    def __init__(self, world: World, tasks: anyio.abc.TaskGroup) -> None:
        super().__init__(world)
        self._tasks = tasks

    async def watch(self, publish: Publish) -> None:
        self._tasks.start_soon(super().watch, publish)


# Tools


class HasNoSchema(Join):
    def schema(self) -> dict[str, Any]:
        return {"type": "object", "properties": {"words": {"type": "words"}}}


class AllowsMoreThanItTakes(Join):
    def schema(self) -> dict[str, Any]:
        return {"type": "object", "properties": {"words": {}}}


class HidesArguments(Join):
    def dump(self, arguments: Any) -> Any:
        return {}


class DumpsWhatIsNoJson(Join):
    def dump(self, arguments: Any) -> Any:
        return {"words": tuple(arguments["words"])}


class SharesArguments(Join):
    def dump(self, arguments: Any) -> Any:
        return arguments


class EchoesValues(Join):
    def wrong(self, words: Any) -> Exception:
        reason = f"is {words!r} and no list of words"
        return ArgumentsError(f"words {reason}", fields=[("words", reason)])


class NamesNoField(Join):
    def wrong(self, words: Any) -> Exception:
        return ArgumentsError("something is no list of words")


class RaisesWhatComes(Join):
    def validate(self, arguments_json: bytes) -> Any:
        return parse(arguments_json)


class TakesArrays(Join):
    def validate(self, arguments_json: bytes) -> Any:
        return {"words": []} if arguments_json == b"[]" else super().validate(arguments_json)


class FailsOnOddWords(Join):
    def validate(self, arguments_json: bytes) -> Any:
        arguments = super().validate(arguments_json)
        for name in arguments:
            name.encode("ascii")
            if name.startswith("__"):
                raise AttributeError(name)
        return arguments


class IsAsyncToCheck(Join):
    async def validate(self, arguments_json: bytes) -> Any:
        return super().validate(arguments_json)


class AnswersSomethingElse(Join):
    async def invoke(self, arguments: Any, context: ToolContext) -> Any:
        return [await super().invoke(arguments, context)]


class MixesCalls(Join):
    async def invoke(self, arguments: Any, context: ToolContext) -> Any:
        self._arguments = arguments
        await checkpoint()
        return await super().invoke(self._arguments, context)


class UsesArgumentsUp(Join):
    async def invoke(self, arguments: Any, context: ToolContext) -> Any:
        words = list(arguments["words"])
        arguments["words"].clear()
        return await super().invoke({"words": words}, context)


class SwallowsItsCancellation(Join):
    async def wait(self) -> None:
        try:
            await super().wait()
        except anyio.get_cancelled_exc_class():
            return


class ForgetsWhoWaits(Join):
    async def wait(self) -> None:
        self._world.waiting += 1
        await anyio.sleep_forever()
        self._world.waiting -= 1


PROVIDER_FAULTS: dict[type[Provider], set[str]] = {
    IsSilentlySync: {"every_method_is_a_coroutine_function"},
    BringsOneTwice: {"the_tools_are_there_each_once"},
    BringsThemOnce: {"asked_again_it_brings_the_same"},
    SharesItsList: {"what_it_brings_is_not_what_it_keeps"},
    PublishesTheNewOnly: {"watch_publishes_all_tools_after_a_change"},
    PublishesTheOld: {"watch_publishes_all_tools_after_a_change"},
    ForgetsToAwaitPublish: {"watch_publishes_all_tools_after_a_change"},
    NoticesNothing: {"watch_publishes_all_tools_after_a_change"},
}

TOOL_FAULTS: dict[type[Join], set[str]] = {
    HasNoSchema: {"schemas_are_json_schemas"},
    AllowsMoreThanItTakes: {"schema_and_check_say_the_same"},
    HidesArguments: {"dumped_arguments_are_what_the_tool_gets"},
    DumpsWhatIsNoJson: {"dumped_arguments_are_what_the_tool_gets"},
    SharesArguments: {"dumped_arguments_are_a_copy"},
    EchoesValues: {"wrong_arguments_are_named_without_their_values"},
    NamesNoField: {"wrong_arguments_are_named_without_their_values"},
    RaisesWhatComes: {"what_is_no_object_is_an_arguments_error"},
    TakesArrays: {"what_is_no_object_is_an_arguments_error"},
    FailsOnOddWords: {"odd_arguments_are_taken_or_an_arguments_error"},
    IsAsyncToCheck: {"every_tool_has_a_spec_and_sync_checks"},
    AnswersSomethingElse: {"a_call_has_its_result"},
    MixesCalls: {"calls_at_once_do_not_mix"},
    UsesArgumentsUp: {"arguments_that_were_checked_can_be_used_again"},
    SwallowsItsCancellation: {"a_cancelled_call_leaves_nothing_running"},
    ForgetsWhoWaits: {"a_cancelled_call_leaves_nothing_running"},
}

# It is given a task group.
WATCH_FAULTS: dict[type[LeavesATask], set[str]] = {LeavesATask: {"watch_can_be_cancelled"}}

KNOWN_BAD: dict[type[ToolProviderSuite], dict[type, set[str]]] = {
    ToolProviderSuite: {**PROVIDER_FAULTS, **TOOL_FAULTS, **WATCH_FAULTS}
}
