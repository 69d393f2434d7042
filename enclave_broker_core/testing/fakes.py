"""Parts to have around the one under test: in memory, keeping their contracts, and telling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from anyio.lowlevel import checkpoint

from enclave_broker_core.contracts import AccessRequest, Credentials
from enclave_broker_core.errors import AccessDeniedError
from enclave_broker_core.models import Admission, Decision, Principal, Verdict, Window
from enclave_broker_core.observations import CallFinished, Observation
from enclave_broker_core.patterns import Pattern
from enclave_broker_core.windows import SlidingWindows

from .gates import Bell
from .policies import fresh


class Clock:
    """A clock that stands still until it is told: ``clock()`` is its time in seconds."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let so much time pass."""
        self.now += seconds


class KnownTokens:
    """An authenticator: ``Authorization: Bearer TOKEN``, of the tokens in ``principals``.

    ``principals`` may be changed at any time.
    """

    def __init__(self, principals: Mapping[str, Principal]) -> None:
        self.principals = dict(principals)

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        await checkpoint()
        scheme, _, token = credentials.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        if token not in self.principals:
            raise AccessDeniedError("this token is not known")
        return self.principals[token]


class KnownSecrets:
    """A secret source: has the secrets in ``values``, and notes which were ``asked`` for.

    ``values`` may be changed at any time.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = dict(values)
        self.asked: list[str] = []

    async def get(self, name: str) -> str | None:
        self.asked.append(name)
        await checkpoint()
        return self.values.get(name)


class _Said(NamedTuple):
    pattern: Pattern
    decision: Decision
    when: Callable[[AccessRequest], bool] | None


class ScriptedPolicy:
    """An access policy that decides as it was told last, and notes what it was asked.

    ``asked`` holds a copy of each request, in order. What nothing was said about is
    decided by ``default``; rules are named ``scripted PATTERN`` and ``scripted default``.
    """

    stable = False

    def __init__(self, default: Verdict = Verdict.ALLOW, *, judges_arguments: bool = False) -> None:
        self.judges_arguments = judges_arguments
        self.asked: list[AccessRequest] = []
        self._default = Decision(default, "scripted default")
        self._said: list[_Said] = []

    def say(
        self,
        verdict: Verdict,
        pattern: str = "*",
        *,
        reason: str = "",
        when: Callable[[AccessRequest], bool] | None = None,
    ) -> None:
        """Decide so on all tools that match, from now on; ``when`` it holds for the request."""
        decision = Decision(verdict, f"scripted {pattern}", reason)
        self._said.insert(0, _Said(Pattern(pattern), decision, when))

    async def decide(self, request: AccessRequest) -> Decision:
        self.asked.append(fresh(request))
        await checkpoint()
        for said in self._said:
            if said.pattern.matches(request.tool) and (said.when is None or said.when(request)):
                return said.decision
        return self._default


class ClockedLimiter:
    """A limiter with exact windows by a ``clock`` that can be set.

    ``acquired`` holds the windows of each call that it was asked to count, in order.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = Clock() if clock is None else clock
        self.acquired: list[tuple[Window, ...]] = []
        self._windows = SlidingWindows(self.clock)

    async def acquire(self, windows: Sequence[Window]) -> Admission:
        self.acquired.append(tuple(windows))
        return self._windows.acquire(windows)

    async def remaining(self, windows: Sequence[Window]) -> Sequence[int]:
        """How many calls each window has room for now."""
        return [self._windows.remaining(window) for window in windows]

    async def check(self) -> None:
        """There is nothing that could be out of reach."""


class RecordingSink:
    """An event sink that keeps all ``observations``, in order."""

    def __init__(self) -> None:
        self.observations: list[Observation] = []
        self._bell = Bell()

    @property
    def calls(self) -> list[CallFinished]:
        """Those of calls."""
        return [one for one in self.observations if isinstance(one, CallFinished)]

    async def observe(self, observation: Observation) -> None:
        await checkpoint()
        self.observations.append(observation)
        self._bell.ring()

    async def until(self, count: int) -> None:
        """Return when there are ``count`` of them: a broker tells its sinks in their own time."""
        await self._bell.until(lambda: len(self.observations) >= count)
