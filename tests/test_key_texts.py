"""What stands below a key is the key's description, in schemas alone."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import ConfigDict, Field, PrivateAttr
from pydantic.dataclasses import dataclass as validated

from enclave_broker_core.key_texts import KeyTexts, key_texts
from enclave_broker_core.models import Frozen


class Inner(Frozen):
    depth: int = 0
    """How deep it is."""


class Base(Frozen):
    """A base."""

    first: int = 1
    """The first,
    in two lines."""
    second: int = 2
    """What the base says of it."""
    bare: int = 3


class Below(Base):
    second: int = 2
    """What its own class says of it."""
    in_: str = Field(default="x", alias="in")
    """Where it is."""
    told: str = Field(default="", description="As the field says.")
    """Not this."""
    inner: Inner = Inner()
    """Another table."""


@validated(slots=True, config=ConfigDict(extra="forbid"))
class Values(KeyTexts):
    size: int = 0
    """How large it is."""


def descriptions(schema: dict[str, Any]) -> dict[str, str | None]:
    return {key: node.get("description") for key, node in schema["properties"].items()}


def test_each_key_has_its_text() -> None:
    schema = Below.model_json_schema()
    assert descriptions(schema) == {
        "first": "The first,\nin two lines.",
        "second": "What its own class says of it.",
        "bare": None,
        "in": "Where it is.",
        "told": "As the field says.",
        "inner": "Another table.",
    }
    assert schema["properties"]["inner"]["$ref"] == "#/$defs/Inner"
    assert descriptions(schema["$defs"]["Inner"]) == {"depth": "How deep it is."}


def test_values_have_texts_too() -> None:
    class Whole(Frozen):
        values: Values = Values()

    assert descriptions(Whole.model_json_schema()["$defs"]["Values"]) == {
        "size": "How large it is."
    }
    assert key_texts(Whole) == {}


def test_what_is_no_key_has_a_text_for_readers_alone() -> None:
    class Counting(Frozen):
        LARGEST: ClassVar[int] = 3
        """Not for a file."""
        _seen: int = PrivateAttr(default=0)
        """Nor this."""
        size: int = 0
        """How large it is."""

    assert descriptions(Counting.model_json_schema()) == {"size": "How large it is."}


def test_without_a_source_there_are_none() -> None:
    namespace: dict[str, Any] = {"Frozen": Frozen, "__name__": "made"}
    exec("class Made(Frozen):\n    size: int = 1\n    'How large it is.'", namespace)
    assert key_texts(namespace["Made"]) == {}
    assert descriptions(namespace["Made"].model_json_schema()) == {"size": None}
