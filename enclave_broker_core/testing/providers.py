"""The conformance suite for tool providers, and for the tools that they bring."""

from __future__ import annotations

import copy
import inspect
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import anyio
import pytest
from anyio.lowlevel import checkpoint
from pydantic import JsonValue
from pydantic_core import from_json, to_json

from enclave_broker_core.contracts import Tool, ToolProvider
from enclave_broker_core.errors import ArgumentsError
from enclave_broker_core.json_form import json_copy
from enclave_broker_core.models import ToolSpec

from . import hostile
from .checks import PatientSuite, nothing_left_running, sync_methods
from .contexts import RecordingContext
from .samples import at_once

LARGEST = 1024 * 1024


@dataclass(frozen=True)
class Example:
    """One tool that the provider brings, and what is known of it.

    ``arguments`` fit its schema and ``result`` is what it answers to them, in JSON form.
    ``wrong`` are arguments that do not fit, of which ``field`` is the wrong one: best a
    text of eight characters or more, which may not come back in the error.
    """

    tool: str
    arguments: Mapping[str, JsonValue]
    result: JsonValue
    wrong: Mapping[str, JsonValue]
    field: str

    @property
    def text(self) -> bytes:
        return to_json(dict(self.arguments))


def texts_in(value: Any) -> Iterator[str]:
    """The texts of eight characters or more in a JSON value."""
    if isinstance(value, str) and len(value) >= 8:
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts_in(item)


def change_deeply(value: Any) -> None:
    """Change a JSON value in place, as deep as it goes."""
    if isinstance(value, dict | list):
        for item in list(value.values() if isinstance(value, dict) else value):
            change_deeply(item)
        value.clear()


class Published:
    """What a provider has published: ``sets`` of tools; ``changed`` waits for the next."""

    def __init__(self) -> None:
        self.sets: list[list[Tool]] = []
        self._more = anyio.Event()

    async def __call__(self, tools: Sequence[Tool]) -> None:
        await checkpoint()  # one that is not awaited publishes nothing
        self.sets.append(list(tools))
        self._more.set()
        self._more = anyio.Event()

    async def changed(self, before: int) -> list[Tool]:
        while len(self.sets) <= before:
            await self._more.wait()
        return self.sets[-1]


@pytest.mark.anyio
class ToolProviderSuite(PatientSuite):
    """Every sentence of the ToolProvider and Tool contracts as a test.

    Subclass it as ``class TestMyProvider(ToolProviderSuite)``, override ``open_provider``
    and give ``examples``: one Example or more of its tools. Two more things are tested when
    the subclass has them: ``change`` changes the set of tools behind the provider's back;
    and ``waiting`` names a tool, and arguments, that never answers, whose ``running`` calls
    can be counted::

        class TestMyProvider(ToolProviderSuite):
            examples = (
                Example("users:get", {"id": 1}, {"name": "Ada"}, {"id": "no number"}, "id"),
            )

            @asynccontextmanager
            async def open_provider(self):
                yield MyProvider(...)
    """

    examples: ClassVar[Sequence[Example]]
    waiting: ClassVar[tuple[str, Mapping[str, JsonValue]] | None] = None
    secrets: ClassVar[Mapping[str, str]] = {}

    def open_provider(self) -> AbstractAsyncContextManager[ToolProvider]:
        raise NotImplementedError("the subclass says how its provider is opened")

    async def change(self) -> None:
        """Add, take away or change a tool where the provider finds them."""
        raise NotImplementedError("the subclass says how its tools change")

    def running(self) -> int:
        """How many calls of the tool ``waiting`` are under way behind it."""
        raise NotImplementedError("the subclass says how many calls run")

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[tuple[ToolProvider, dict[str, Tool]]]:
        async with self.patiently(self.open_provider()) as provider:
            yield provider, {tool.spec.name: tool for tool in await provider.tools()}

    def _invoke(self, tool: Tool, text: bytes) -> Awaitable[Any]:
        context = RecordingContext(tool.spec.name, secrets=self.secrets)
        return tool.invoke(tool.validate(text), context)

    async def _answer(self, tool: Tool, text: bytes) -> Any:
        return json_copy(await self._invoke(tool, text), LARGEST)

    # The provider

    async def test_every_method_is_a_coroutine_function(self) -> None:
        async with self._open() as (provider, _):
            assert sync_methods(provider, "tools", "watch") == []

    async def test_the_tools_are_there_each_once(self) -> None:
        async with self._open() as (provider, _):
            names = [tool.spec.name for tool in await provider.tools()]
            assert sorted(names) == sorted(set(names))
            assert {example.tool for example in self.examples} <= set(names)

    async def test_asked_again_it_brings_the_same(self) -> None:
        async with self._open() as (provider, tools):
            specs = [tool.spec for tool in tools.values()]
            assert [tool.spec for tool in await provider.tools()] == specs

    async def test_what_it_brings_is_not_what_it_keeps(self) -> None:
        async with self._open() as (provider, tools):
            brought: Any = await provider.tools()
            if isinstance(brought, list):
                brought.clear()
            assert [tool.spec.name for tool in await provider.tools()] == list(tools)

    async def test_watch_can_be_cancelled(self) -> None:
        async with self._open() as (provider, tools), nothing_left_running():
            published = Published()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(provider.watch, published)
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
            assert [tool.spec.name for tool in await provider.tools()] == list(tools)

    async def test_watch_publishes_all_tools_after_a_change(self) -> None:
        if type(self).change is ToolProviderSuite.change:
            pytest.skip("the subclass does not say how its tools change")
        async with self._open() as (provider, tools):
            published = Published()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(provider.watch, published)
                await anyio.wait_all_tasks_blocked()
                before = len(published.sets)
                await self.change()
                found = await published.changed(before)
                tasks.cancel_scope.cancel()
            offered = {tool.spec.name: tool.spec for tool in await provider.tools()}
            assert {tool.spec.name: tool.spec for tool in found} == offered
            assert offered != {name: tool.spec for name, tool in tools.items()}

    # Its tools

    async def test_every_tool_has_a_spec_and_sync_checks(self) -> None:
        async with self._open() as (_, tools):
            for tool in tools.values():
                assert type(tool.spec) is ToolSpec
                for method in (tool.validate, tool.dump):
                    assert not inspect.iscoroutinefunction(method)

    async def test_schemas_are_json_schemas(self) -> None:
        """By jsonschema-rs: the extra ``jsonschema`` of enclave-broker-core."""
        jsonschema_rs = pytest.importorskip("jsonschema_rs")
        async with self._open() as (_, tools):
            for tool in tools.values():
                for schema in (tool.spec.input_schema, tool.spec.output_schema):
                    if schema is not None:
                        assert from_json(to_json(schema)) == schema
                        jsonschema_rs.validator_for(schema, offline=True)
                schema = tool.spec.input_schema
                assert schema.get("type") == "object" or "$ref" in schema or "anyOf" in schema

    async def test_schema_and_check_say_the_same(self) -> None:
        jsonschema_rs = pytest.importorskip("jsonschema_rs")
        async with self._open() as (_, tools):
            for example in self.examples:
                tool = tools[example.tool]
                schema = jsonschema_rs.validator_for(tool.spec.input_schema, offline=True)
                tool.validate(example.text)
                assert schema.is_valid(dict(example.arguments))
                assert not schema.is_valid(dict(example.wrong))

    async def test_dumped_arguments_are_what_the_tool_gets(self) -> None:
        async with self._open() as (_, tools):
            for example in self.examples:
                tool = tools[example.tool]
                dumped = dict(tool.dump(tool.validate(example.text)))
                assert from_json(to_json(dumped)) == dumped
                assert example.arguments.keys() <= dumped.keys()
                # They can be given in their place: a policy judges nothing else.
                assert tool.dump(tool.validate(to_json(dumped))) == dumped

    async def test_dumped_arguments_are_a_copy(self) -> None:
        async with self._open() as (_, tools):
            for example in self.examples:
                tool = tools[example.tool]
                arguments = tool.validate(example.text)
                dumped = tool.dump(arguments)
                before = copy.deepcopy(dict(dumped))
                change_deeply(dumped)
                assert tool.dump(arguments) == before

    async def test_wrong_arguments_are_named_without_their_values(self) -> None:
        async with self._open() as (_, tools):
            for example in self.examples:
                with pytest.raises(ArgumentsError) as caught:
                    tools[example.tool].validate(to_json(dict(example.wrong)))
                fields = [field for field, _ in caught.value.fields]
                assert any(field.split(".")[0] == example.field for field in fields)
                said = f"{caught.value.message} {caught.value.details}"
                assert example.field in said
                assert [text for text in texts_in(dict(example.wrong)) if text in said] == []

    async def test_what_is_no_object_is_an_arguments_error(self) -> None:
        texts = (b"", b"{", b"[]", b"null", b"1", b'"{}"', b"\xff", b"[" * 10_000, b"{}{}")
        async with self._open() as (_, tools):
            for example in self.examples:
                for text in texts:
                    with pytest.raises(ArgumentsError):
                        tools[example.tool].validate(text)

    async def test_odd_arguments_are_taken_or_an_arguments_error(self) -> None:
        async with self._open() as (_, tools):
            for example in self.examples:
                tool = tools[example.tool]
                odd = hostile.arguments()
                given = [odd, {**example.arguments, **odd}]
                for name in example.arguments:
                    given += [{**example.arguments, name: value} for value in odd.values()]
                for arguments in given:
                    try:
                        dumped = tool.dump(tool.validate(to_json(arguments)))
                    except ArgumentsError:
                        continue
                    to_json(dict(dumped))

    async def test_a_call_has_its_result(self) -> None:
        async with self._open() as (_, tools):
            for example in self.examples:
                assert await self._answer(tools[example.tool], example.text) == example.result

    async def test_calls_at_once_do_not_mix(self) -> None:
        async with self._open() as (_, tools):
            examples = list(self.examples) * 4
            answers = await at_once(
                [partial(self._answer, tools[one.tool], one.text) for one in examples]
            )
            assert answers == [example.result for example in examples]

    async def test_arguments_that_were_checked_can_be_used_again(self) -> None:
        async with self._open() as (_, tools):
            for example in self.examples:
                tool = tools[example.tool]
                arguments = tool.validate(example.text)
                before = copy.deepcopy(dict(tool.dump(arguments)))
                for _ in range(2):
                    context = RecordingContext(example.tool, secrets=self.secrets)
                    found = json_copy(await tool.invoke(arguments, context), LARGEST)
                    assert found == example.result
                assert tool.dump(arguments) == before

    async def test_a_cancelled_call_leaves_nothing_running(self) -> None:
        if self.waiting is None:
            pytest.skip("the subclass names no tool that waits")
        name, arguments = self.waiting
        ended: list[Any] = []
        async with self._open() as (_, tools), nothing_left_running():

            async def ask() -> None:
                try:
                    ended.append(await self._invoke(tools[name], to_json(dict(arguments))))
                except Exception as problem:
                    ended.append(problem)

            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(ask)
                await anyio.wait_all_tasks_blocked()
                assert self.running() == 3
                tasks.cancel_scope.cancel()
            assert self.running() == 0
            assert ended == []
