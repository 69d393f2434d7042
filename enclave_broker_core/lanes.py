"""What is settled of the calls of one tool in one session, so that no call settles it again."""

from __future__ import annotations

from .contracts import Tool
from .errors import CallError, DeadlineExceededError, ToolTimeoutError
from .limits import RateLimiter
from .models import Decision, Principal, SessionLimits, Window
from .registry import Catalog


class Lane:
    """Holds for one catalog, one principal and one set of policies, and says for which.

    ``decision`` is None when the policies have to be asked each time; ``windows`` are those
    of ``rates``; ``seconds`` is the deadline of a call and ``late`` the error when it passes.
    """

    __slots__ = (
        "access",
        "catalog",
        "decision",
        "late",
        "principal",
        "rates",
        "seconds",
        "secrets",
        "tool",
        "windows",
    )

    def __init__(
        self,
        tool: Tool,
        catalog: Catalog,
        principal: Principal | None,
        limits: SessionLimits,
        access: object,
    ) -> None:
        spec = tool.spec
        self.tool = tool
        self.catalog = catalog
        self.principal = principal
        self.access = access
        self.decision: Decision | None = None
        self.secrets = spec.secrets
        self.rates: RateLimiter | None = None
        self.windows: tuple[Window, ...] = ()
        self.seconds = spec.timeout
        self.late: type[CallError] = ToolTimeoutError
        budget = limits.call_timeout
        if budget is not None and (self.seconds is None or budget < self.seconds):
            self.seconds, self.late = budget, DeadlineExceededError
