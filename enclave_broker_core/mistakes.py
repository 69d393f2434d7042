"""Checks parts of a configuration and collects all mistakes, each with its place."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .config_files import Document
from .errors import ConfigError
from .model_schema import properties
from .places import Place
from .redaction import BLOT, Redactor
from .references import Expanded

ModelT = TypeVar("ModelT", bound=BaseModel)


class Mistakes:
    """What is wrong with one document. No message holds a value that is a secret."""

    def __init__(self, document: Document, expanded: Expanded, redactor: Redactor) -> None:
        self._document = document
        self._expanded = expanded
        self._redactor = redactor
        self._found: list[tuple[Place, str]] = []
        for place, message in (*document.problems, *expanded.mistakes):
            self.add(place, message)

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, place: Place, message: str) -> None:
        for held, values in self._expanded.secrets.items():
            if held[: len(place)] == place or place[: len(held)] == held:
                # Whatever their length: here they would surely be the secret.
                for value in filter(None, values):
                    message = message.replace(value, BLOT)
        text = f"{self._document.locate(place)}: {self._redactor.text(message)}"
        if (place, text) not in self._found:
            self._found.append((place, text))

    def texts(self) -> list[str]:
        """All of them, in the order of the file."""
        found = sorted(self._found, key=lambda found: self._document.order(found[0]))
        return [text for _, text in found]

    def within(self, keys: Container[str]) -> bool:
        """Whether there is one under any of these top-level keys."""
        return any(place and place[0] in keys for place, _ in self._found)

    def error(self) -> ConfigError:
        texts = self.texts()
        if len(texts) == 1:
            return ConfigError(texts[0], problems=texts)
        lines = "".join(f"\n  {text}" for text in texts)
        return ConfigError(
            f"there are {len(texts)} mistakes in {self._document.name}:{lines}", problems=texts
        )

    def validate(self, model: type[ModelT], data: Mapping[str, Any], at: Place) -> ModelT | None:
        """The data as the model; None when it is wrong or depends on what is not known."""
        found = None
        wrong = False
        try:
            found = model.model_validate(data)
        except ValidationError as problem:
            wrong = True
            self._report(model, data, at, problem)
        except Exception as problem:
            # A validator of somebody's model that fails itself.
            self.add(at, f"could not be checked: {type(problem).__name__}: {problem}")
            return None
        if model.model_config.get("extra", "ignore") == "ignore":
            # A model that would take no notice of a misspelt key.
            config = model.model_config
            by_name = config.get("populate_by_name") or config.get("validate_by_name")
            known = [*properties(model, ()), *(model.model_fields if by_name else ())]
            for key in data:
                if key not in known:
                    wrong = True
                    self.add((*at, key), self._unknown_key((*at, key), known))
        return None if wrong else found

    def _report(
        self, model: type[BaseModel], data: Mapping[str, Any], at: Place, problem: ValidationError
    ) -> None:
        said: dict[Place, list[str]] = {}
        for item in problem.errors(include_url=False, include_input=False):
            place = (*at, *_found_at(data, item["loc"], missing=item["type"] == "missing"))
            if not self._is_unknown(place):
                messages = said.setdefault(place, [])
                message = self._message(model, item, place)
                if message not in messages:
                    messages.append(message)
        for place, messages in said.items():
            self.add(place, " or ".join(messages))

    def _message(self, model: type[BaseModel], item: ErrorDetails, place: Place) -> str:
        if item["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            return self._unknown_key(place, properties(model, item["loc"][:-1]))
        if item["type"] == "missing":
            return "is missing"
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "string_type" and self._document.origin(place).variable is not None:
            return f"{message}; a text that looks like something else needs quotes of its own"
        return message

    def _unknown_key(self, place: Place, names: Iterable[str]) -> str:
        key = str(place[-1])
        hint = choices(key, names, lambda known: self._document.spelt(place, known))
        return f"there is no such key; {hint}"

    def _is_unknown(self, place: Place) -> bool:
        """Whether a value in or around this place is one that nobody knows yet."""
        return any(
            place[: len(unknown)] == unknown or unknown[: len(place)] == place
            for unknown in self._expanded.unknown
        )


def choices(name: str, names: Iterable[str], spelt: Callable[[str], str] = repr) -> str:
    """A hint for a name that there is not: what is near, or else all that there are."""
    names = sorted(set(names))
    near = difflib.get_close_matches(name, names, n=3)
    near = near or [known for known in names if len(name) >= 3 and name in known][:3]
    if near:
        return f"did you mean {' or '.join(map(spelt, near))}?"
    return f"there are: {', '.join(names)}" if names else "there are none"


def _found_at(data: Any, loc: Sequence[str | int], *, missing: bool) -> Place:
    """Where an error is in the data: pydantic's locations also name members of unions."""
    place: Place = ()
    for position, part in enumerate(loc):
        if _holds(data, part):
            data = data[part]
        elif not (missing and position == len(loc) - 1):
            continue
        place = (*place, part)
    return place


def _holds(data: Any, part: str | int) -> bool:
    if isinstance(data, Mapping):
        return part in data
    return isinstance(data, list | tuple) and isinstance(part, int) and part < len(data)
