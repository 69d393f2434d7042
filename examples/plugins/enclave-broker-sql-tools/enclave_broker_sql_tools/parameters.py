"""A query's parameters: how they are declared, and what an agent may give for them."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    create_model,
    model_validator,
)

Kind: TypeAlias = Literal[
    "string", "integer", "number", "decimal", "boolean", "date", "datetime", "uuid"
]

# What a database's integer holds; and decimals as texts, for a float is not what was written.
KINDS: Mapping[Kind, Any] = MappingProxyType(
    {
        "string": str,
        "integer": Annotated[int, Field(ge=-(2**63), le=2**63 - 1)],
        "number": Annotated[float, Field(allow_inf_nan=False)],
        "decimal": Annotated[str, Field(pattern=r"^-?[0-9]{1,60}(\.[0-9]{1,60})?$")],
        "boolean": bool,
        "date": datetime.date,
        "datetime": AwareDatetime,
        "uuid": uuid.UUID,
    }
)
# PostgreSQL's texts can't hold NUL.
WITHOUT_NUL = Field(pattern=r"^[^\x00]*$")


class Declared(BaseModel, extra="forbid", frozen=True):
    """One ``:name`` of a query.

    ``list`` is for ``in :name``, up to ``max_items`` of them. Who may leave it out says
    ``default``; ``nullable`` takes null, and has it for a default when there is no other.
    """

    type: Kind
    description: str = ""
    nullable: bool = False
    default: JsonValue = None
    enum: tuple[str | int, ...] = ()
    minimum: int | float | None = None
    maximum: int | float | None = None
    max_length: int = Field(default=10_000, ge=0)
    list: bool = False
    max_items: int = Field(default=100, ge=1, le=10_000)

    @property
    def optional(self) -> bool:
        return self.nullable or "default" in self.model_fields_set

    @property
    def annotation(self) -> Any:
        """What is given for it, as a type that pydantic knows."""
        kind: Any = KINDS[self.type]
        if self.type == "string":
            kind = Annotated[kind, Field(max_length=self.max_length), WITHOUT_NUL]
        if self.minimum is not None or self.maximum is not None:
            kind = Annotated[kind, Field(ge=self.minimum, le=self.maximum)]
        if self.enum:
            kind = Literal[self.enum]
        if self.list:
            # ``list`` is a field here.
            kind = Annotated[tuple[kind, ...], Field(max_length=self.max_items)]
        return kind | None if self.nullable else kind

    @model_validator(mode="after")
    def _bounds_fit(self) -> Self:
        bounded = {"minimum", "maximum"} & {
            name for name in self.model_fields_set if getattr(self, name) is not None
        }
        if bounded and self.type not in ("integer", "number"):
            raise ValueError(f"a {self.type} has no {min(bounded)}")
        if self.enum and (self.type not in ("string", "integer") or bounded):
            raise ValueError("enum is for a string or an integer, without other bounds")
        if self.list and self.nullable:
            raise ValueError("a list can't be null: give it the default []")
        wanted = str if self.type == "string" else int
        if not all(isinstance(one, wanted) for one in self.enum):
            raise ValueError(f"enum has a value that is no {self.type}")
        return self

    @model_validator(mode="after")
    def _default_fits(self) -> Self:
        if "default" in self.model_fields_set:
            self.checked_default()
        return self

    def checked_default(self) -> Any:
        """The default as a value of its type; ValueError when it is none."""
        checker = TypeAdapter[Any](self.annotation, config=ConfigDict(strict=True))
        try:
            return checker.validate_json(TypeAdapter(JsonValue).dump_json(self.default))
        except ValidationError as problem:
            said = problem.errors(include_url=False)[0]["msg"]
            raise ValueError(f"the default does not fit: {said}") from None


def _written(value: Any) -> Any:
    """``"integer"``, ``"integer?"`` for one that may be null, ``"integer[]"`` for a list."""
    if not isinstance(value, str):
        return value
    kind = value.removesuffix("?").removesuffix("[]")
    table: dict[str, Any] = {"type": kind}
    if value.endswith("?"):
        table["nullable"] = True
    if value.removesuffix("?").endswith("[]"):
        table["list"] = True
    return table


Parameter = Annotated[Declared, BeforeValidator(_written, json_schema_input_type=Declared | str)]


def arguments_model(parameters: Mapping[str, Declared]) -> type[BaseModel]:
    """A model of all arguments, in the order of the declarations.

    The names are aliases: a parameter may have a name that a model's field can't have.
    """
    fields: dict[str, Any] = {}
    for number, (name, declared) in enumerate(parameters.items()):
        given = declared.checked_default() if "default" in declared.model_fields_set else None
        default = given if declared.optional else ...
        about = declared.description or None
        fields[f"field_{number}"] = (
            declared.annotation,
            Field(default, alias=name, title=name, description=about),
        )
    return create_model(
        "Arguments",
        __config__=ConfigDict(extra="forbid", strict=True, frozen=True, title="arguments"),
        **fields,
    )
