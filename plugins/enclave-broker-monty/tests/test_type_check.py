"""Stubs made from schemas, and code that is refused before any of it runs."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import pytest
from enclave_broker_monty.schema_types import SchemaTypes
from enclave_broker_monty.signatures import signatures
from enclave_broker_monty.stubs import module_stubs

from enclave_broker_core.errors import RunError
from enclave_broker_core.models import ToolSpec
from enclave_broker_core.testing.hosts import RecordingHost


def made(schema: Any) -> tuple[str, str]:
    """The type of a result of this schema, and the classes that it needs."""
    types = SchemaTypes()
    found = types.result(schema, "thing")
    return found.replace("_b.", "").replace("_t.", ""), "\n".join(types.definitions)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, "str"),
        ({"type": "integer"}, "int"),
        ({"type": "number"}, "float"),
        ({"type": "boolean"}, "bool"),
        ({"type": "null"}, "None"),
        ({"type": ["string", "null"]}, "str | None"),
        ({"type": "string", "nullable": True}, "str | None"),
        ({"enum": ["a", 1, True, None]}, "Literal['a', 1, True, None]"),
        ({"enum": [1.5]}, "Any"),
        ({"const": "x'\n"}, 'Literal["x\'\\n"]'),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "str | int"),
        ({"oneOf": [{"type": "string"}, {"type": "string"}]}, "str"),
        ({"anyOf": [{"type": "string"}, {}]}, "Any"),
        ({"anyOf": []}, "Any"),
        ({"allOf": [{"type": "string"}]}, "str"),
        ({"allOf": [{"type": "string"}, {"minLength": 1}]}, "Any"),
        ({"type": "array", "items": {"type": "integer"}}, "list[int]"),
        ({"type": "array"}, "list[Any]"),
        ({"type": "array", "prefixItems": [{"type": "integer"}]}, "list[Any]"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "dict[str, int]"),
        ({"type": "object"}, "dict[str, Any]"),
        ({"type": "object", "properties": {"a b": {}}}, "dict[str, Any]"),
        (
            {"type": "object", "properties": {"a": {}}, "additionalProperties": True},
            "dict[str, Any]",
        ),
        ({"$ref": "#/$defs/No"}, "Any"),
        ({"$ref": "https://example.com/schema"}, "Any"),
        ({"$ref": "#"}, "Any"),
        ({"$ref": "#/$defs/A~1B", "$defs": {"A/B": {"type": "string"}}}, "str"),
        ({"type": "unheard of"}, "Any"),
        ({"type": {"not": "a type"}}, "Any"),
        (True, "Any"),
        (None, "Any"),
        ("string", "Any"),
    ],
)
def test_a_schema_is_a_type(schema, expected) -> None:
    assert made(schema) == (expected, "")


def test_an_object_is_a_typed_dict() -> None:
    schema = {
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": {"type": "integer"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "home": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
    name, classes = made(schema)
    assert name == "_Thing"
    assert "class _Thing(_t.TypedDict):\n    id: _b.int\n" in classes
    assert "    tags: _t.NotRequired[_b.list[_b.str]]\n" in classes
    assert "    home: _t.NotRequired[_ThingHome]\n" in classes
    assert "class _ThingHome(_t.TypedDict):\n    city: _t.NotRequired[_b.str]\n" in classes


def test_a_schema_may_contain_itself() -> None:
    tree = {
        "$ref": "#/$defs/Node",
        "$defs": {
            "Node": {
                "type": "object",
                "required": ["next"],
                "properties": {"next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}},
            }
        },
    }
    assert made(tree) == ("_Node", "class _Node(_t.TypedDict):\n    next: _Node | None\n")
    endless = {
        "$ref": "#/$defs/L",
        "$defs": {"L": {"type": "array", "items": {"$ref": "#/$defs/L"}}},
    }
    assert made(endless) == ("list[Any]", "")
    loop = {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}}
    assert made(loop) == ("Any", "")


def test_a_schema_can_not_grow_without_end() -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(5000):
        deep = {"type": "array", "items": deep}
    assert made(deep)[0].count("list") < 30
    wide = {"type": "object", "properties": {f"p{n}": {} for n in range(10_000)}}
    assert made(wide) == ("dict[str, Any]", "")


HOSTILE = [
    'x"""\nimport os\n"""',
    "'''\nimport os",
    "\\",
    "\\'\nimport os  # ",
    "a\u2028import os",
    "\ud800",
    "${x} {y} %s",
    "nul\0",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text) -> None:
    schema = {
        "type": "object",
        "properties": {text: {"const": text, "description": text}, "kind": {"enum": [text]}},
        "required": [text],
    }
    spec = ToolSpec(name="x", description=text, input_schema=schema, output_schema=schema)
    tree = ast.parse(module_stubs(signatures({"x": spec})))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [alias.name for node in imports for alias in node.names] == ["builtins", "typing"]
    function = next(node for node in tree.body if isinstance(node, ast.AsyncFunctionDef))
    assert ast.get_docstring(function, clean=False) == text
    assert [argument.arg for argument in function.args.args] == ["kind"]
    assert function.args.kwarg is not None


def test_parameters_keep_the_order_of_the_schema_as_far_as_python_can() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {}, "c": {"type": "integer"}, "def": {}},
        "required": ["a", "c"],
    }
    stubs = module_stubs(signatures({"f": ToolSpec(name="f", input_schema=schema)}))
    assert "f(a: _b.str, b: _t.Any = ..., *, c: _b.int, **_more: _t.Any) -> _t.Any" in stubs


class TypedHost(RecordingHost):
    def tools(self) -> Mapping[str, ToolSpec]:
        user = {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        }
        get = ToolSpec(
            name="test:echo",
            description='Give it back.\n"""',
            input_schema={
                "type": "object",
                "properties": {"value": {"type": "object"} | user, "list": {"type": "array"}},
                "required": ["value"],
                "additionalProperties": False,
            },
            output_schema=user,
        )
        # Tools that are called as Python's types are must not confuse the stubs.
        names = ["str", "int", "list", "dict", "Any", "Literal"]
        return super().tools() | {"get": get} | {name: ToolSpec(name="x") for name in names}


USE = "from tools import get\n"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("code", "message"),
    [
        (USE + 'await get("x")', "Expected `_GetValue`"),
        (USE + "await get()", "No argument provided for required parameter `value`"),
        (USE + 'await get(valu={"name": "a"})', "`valu`"),
        (USE + 'await get({"nam": "a"})', '"name"'),
        (USE + 'await get({"name": 1})', "`str`"),
        (USE + 'u = await get({"name": "a"})\nu["nam"]', 'did you mean "name"'),
        (USE + 'u = await get({"name": "a"})\nu["age"] + "x"', "`int`"),
        ("from tools import nothing", "no member `nothing`"),
        ("await call_tool(1)", "Expected `str`"),
        ("tool_error(ValueError()).cod", "no attribute `cod`"),
        ("undefined", "`undefined` used when not defined"),
    ],
)
async def test_code_that_misuses_a_tool_is_refused_before_it_runs(monty, code, message) -> None:
    host = TypedHost()
    first = 'print("begun")\nawait call_tool("test:echo", {"value": 1})\n'
    async with monty(type_check=True) as runtime, runtime.session(host) as session:
        with pytest.raises(RunError, match="the type checker refused the code") as caught:
            await session.run(first + code)
        assert message in caught.value.message
        assert host.log == []


@pytest.mark.anyio
async def test_code_that_uses_tools_rightly_passes_the_type_checker(monty) -> None:
    host = TypedHost()
    code = (
        USE
        + """
import tools
user = await get({"name": "a", "age": 3}, list=[1])
user["name"].upper()
try:
    await call_tool("test:fail", {"message": "no luck"})
except ToolError as error:
    code = tool_error(error).code
total = await tools.test_add(a=1, b=2.5)
[code, user["name"], total]
"""
    )
    async with monty(type_check=True) as runtime, runtime.session(host) as session:
        assert await session.run(code) == ["TOOL_ERROR", "a", 3.5]
        assert await session.run('user["name"] + code') == "aTOOL_ERROR"


@pytest.mark.anyio
async def test_without_type_check_the_code_runs_as_far_as_it_goes(monty) -> None:
    host = TypedHost()
    async with monty() as runtime, runtime.session(host) as session:
        with pytest.raises(RunError, match="AttributeError"):
            await session.run('print("begun")\n"x".nothing')
        assert host.printed == "begun\n"
