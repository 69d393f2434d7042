"""Each suite is known to find at least five implementations that are bad, and each test one.

A module ``bad_*`` here has ``KNOWN_BAD``: for a suite, what is bad and by which of its tests
it is found. The tests of the suites run what stands there.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from enclave_broker_core import testing
from enclave_broker_core.testing.suite import Suite

ENOUGH = 5


def brings(suite: type[Suite]) -> set[str]:
    """The names of the tests that a suite has of its own, but for ``test_``."""
    return {name.removeprefix("test_") for name in vars(suite) if name.startswith("test_")}


def suites() -> Iterator[type[Suite]]:
    for module in pkgutil.walk_packages(testing.__path__, f"{testing.__name__}."):
        for found in vars(importlib.import_module(module.name)).values():
            its_own = getattr(found, "__module__", None) == module.name
            if its_own and isinstance(found, type) and issubclass(found, Suite) and brings(found):
                yield found


def known_bad() -> dict[type[Suite], dict[Any, set[str]]]:
    """What is bad, and by which tests it is found."""
    known: dict[type[Suite], dict[Any, set[str]]] = defaultdict(dict)
    for path in sorted(Path(__file__).parent.glob("bad_*.py")):
        for suite, faults in importlib.import_module(path.stem).KNOWN_BAD.items():
            for bad, found_by in faults.items():
                known[suite][bad] = found_by
    return known


ALL = list(suites())
KNOWN = known_bad()
each = pytest.mark.parametrize("suite", ALL, ids=lambda suite: suite.__name__)


@each
def test_enough_is_known_that_it_finds(suite: type[Suite]) -> None:
    assert len(KNOWN[suite]) >= ENOUGH


@each
def test_what_is_bad_is_found_by_tests_that_it_has(suite: type[Suite]) -> None:
    for bad, found_by in KNOWN[suite].items():
        assert found_by, bad
        assert found_by <= brings(suite), bad


@each
def test_each_of_its_tests_finds_something(suite: type[Suite]) -> None:
    assert brings(suite) - set().union(*KNOWN[suite].values()) == set()


def test_what_is_known_is_of_a_suite_that_authors_have() -> None:
    assert set(KNOWN) <= set(ALL)


def test_suites_are_found_in_more_than_one_module() -> None:
    # As this file says nothing when there are none.
    assert len({suite.__module__ for suite in ALL}) > ENOUGH
