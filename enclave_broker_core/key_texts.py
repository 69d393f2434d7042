"""The docstring below a key of a model is the key's description in its JSON Schema.

pydantic has this (``use_attribute_docstrings``), but reads the source when a class is made:
2.5 ms for each class, at every start of every program. Here it is read when a schema is made.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping
from itertools import pairwise

from pydantic import GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class KeyTexts:
    """A base of models whose keys are described by the docstrings below them."""

    __slots__ = ()

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        fields: Mapping[str, FieldInfo] = vars(cls)["__pydantic_fields__"]
        texts = key_texts(cls)
        for name in fields.keys() & texts.keys():
            properties[fields[name].alias or name].setdefault("description", texts[name])
        return schema


def key_texts(model: type) -> dict[str, str]:
    """The docstrings below the keys of a model and of its bases. None where no source is."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if vars(base).get("__pydantic_fields__"):
            found |= _texts_in(base)
    return found


def _texts_in(model: type) -> dict[str, str]:
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    except (OSError, TypeError, SyntaxError):
        return {}
    found: dict[str, str] = {}
    for item, below in pairwise(tree.body if isinstance(tree, ast.ClassDef) else ()):
        match item, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = inspect.cleandoc(text)
    return found
