"""The cache beside a slow and obvious one: a list of all answers, the last used at its end."""

from __future__ import annotations

from typing import Any

from enclave_broker_middleware.kept_answers import OVERHEAD, KeptAnswers
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from middleware_calls import spec

from enclave_broker_core.testing.fakes import Clock

TTL, MOST, MOST_BYTES = 10.0, 2, 7 * OVERHEAD
TOOLS = (spec("a"), spec("a"))
KEYS = st.sampled_from([b"k1", b"k2", b"k3", b"k4", b"k5"])
# Such that sometimes their number is the bound, sometimes their bytes, and one is too large.
SIZES = st.sampled_from([0, 1, 100, 900, 1800, 1801])


class CacheBesideItsModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.kept = KeptAnswers(TTL, MOST, MOST_BYTES, self.clock)
        self.model: list[tuple[bytes, Any, bytes, float]] = []

    def _without(self, key: bytes) -> None:
        self.model = [entry for entry in self.model if entry[0] != key]

    @rule(key=KEYS, tool=st.sampled_from(TOOLS), size=SIZES)
    def put(self, key: bytes, tool: Any, size: int) -> None:
        text = bytes(size)
        self.kept.put(key, tool, text)
        self._without(key)
        if size + OVERHEAD <= MOST_BYTES:
            self.model.append((key, tool, text, self.clock.now + TTL))
        while len(self.model) > MOST or sum(len(e[2]) + OVERHEAD for e in self.model) > MOST_BYTES:
            del self.model[0]

    @rule(key=KEYS, tool=st.sampled_from(TOOLS))
    def get(self, key: bytes, tool: Any) -> None:
        found = self.kept.get(key, tool)
        entry = next((entry for entry in self.model if entry[0] == key), None)
        self._without(key)
        if entry is not None and entry[1] is tool and self.clock.now < entry[3]:
            self.model.append(entry)
            assert found == entry[2]
        else:
            assert found is None

    @precondition(lambda self: self.model)
    @rule(seconds=st.sampled_from([5.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def it_is_bounded(self) -> None:
        assert len(self.kept) == len(self.model) <= MOST


TestCacheBesideItsModel = CacheBesideItsModel.TestCase
TestCacheBesideItsModel.settings = settings(deadline=None, max_examples=60)
