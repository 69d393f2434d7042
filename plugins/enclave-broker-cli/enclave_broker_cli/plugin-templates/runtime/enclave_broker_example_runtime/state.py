"""What a session's code has defined: JSON all through, so that it can be dumped."""

from __future__ import annotations

from typing import Annotated

from enclave_broker_core.errors import RunError
from enclave_broker_core.json_form import json_text
from pydantic import BaseModel, Field, JsonValue, StringConstraints, ValidationError

LONGEST_NAME = 64
Name = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_NAME)]


class Function(BaseModel, extra="forbid", frozen=True):
    parameter: Name
    body: JsonValue


class State(BaseModel, extra="forbid"):
    """The variables and functions of one session."""

    variables: dict[Name, JsonValue] = Field(default_factory=dict)
    functions: dict[Name, Function] = Field(default_factory=dict)

    def same_names(self) -> State:
        """A state in which names can be set anew; no value is ever changed in place."""
        return State.model_construct(variables=dict(self.variables), functions=dict(self.functions))

    def dump(self, max_bytes: int) -> bytes:
        """What ``state_of`` takes. TooLargeError, NotJsonError for what can't be kept."""
        functions = {
            name: {"parameter": function.parameter, "body": function.body}
            for name, function in self.functions.items()
        }
        return json_text({"variables": self.variables, "functions": functions}, max_bytes)


def state_of(dump: bytes | None) -> State:
    """The state of a dump, a new one for None; RunError for what is no dump."""
    if dump is None:
        return State()
    try:
        return State.model_validate_json(dump)
    except ValidationError:
        raise RunError("this is no state of a session") from None
