"""Which of a document's operations become tools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from enclave_broker_core.patterns import Pattern

from .config import Selection, Selections
from .operations import Operation

_Test = Callable[[Operation, str], bool]


class Selector:
    """Says of each operation whether it is wanted."""

    def __init__(self, include: Selections, exclude: Selections) -> None:
        self._include = [_test(one) for one in include]
        self._exclude = [_test(one) for one in exclude]

    def wants(self, operation: Operation, name: str) -> bool:
        """``name`` is what the operation is called without its source."""
        if any(test(operation, name) for test in self._exclude):
            return False
        return not self._include or any(test(operation, name) for test in self._include)


def _test(selection: str | Selection) -> _Test:
    if isinstance(selection, str):
        selection = Selection(operation=selection)
    operation, tag, path = (
        None if text is None else Pattern(text)
        for text in (selection.operation, selection.tag, selection.path)
    )
    method = None if selection.method is None else selection.method.upper()

    def test(found: Operation, name: str) -> bool:
        named: list[Any] = [name, found.key] + ([found.id] if found.id else [])
        return (
            (operation is None or any(map(operation.matches, named)))
            and (tag is None or any(map(tag.matches, found.tags)))
            and (path is None or path.matches(found.path))
            and (method is None or method == found.method)
        )

    return test
