"""Every metric and every span, with its attributes: pages and dashboard are held to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram", "observable counter"]

# Seconds: from what a call in memory takes to what a slow service does.
CALL_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
RUN_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)
SESSION_BUCKETS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400)
STORE_BUCKETS = (0.00001, 0.00005, 0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5)
LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
# As the conventions for HTTP have them.
HTTP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

TOOL = "gen_ai.tool.name"
OUTCOME = "enclave.outcome"
ERROR = "error.type"
RULE = "enclave.rule"
SCOPE = "enclave.limit.scope"
STATE = "enclave.session.state"
QUEUE = "enclave.queue"
RUNTIME = "enclave.runtime"
WORKER = "enclave.worker.state"
OPERATION = "enclave.store.operation"
METHOD = "http.request.method"
ROUTE = "http.route"
STATUS = "http.response.status_code"

SESSION = "session.id"
PRINCIPAL = "enclave.principal.id"
TENANT = "enclave.principal.tenant"
RUN = "enclave.run.id"
CALL = "gen_ai.tool.call.id"
ARGUMENTS = "gen_ai.tool.call.arguments"
RESULT = "gen_ai.tool.call.result"
GEN_AI = "gen_ai.operation.name"
TYPE = "gen_ai.tool.type"
PATH = "url.path"
CALLS = "enclave.tool_calls"


class Metric(NamedTuple):
    """``buckets`` are a histogram's, in its unit."""

    kind: Kind
    unit: str
    description: str
    attributes: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


METRICS: Mapping[str, Metric] = {
    "enclave.tool.calls": Metric(
        "counter", "{call}", "Tool calls that have ended.", (TOOL, OUTCOME, ERROR)
    ),
    "gen_ai.execute_tool.duration": Metric(
        "histogram",
        "s",
        "How long tool calls took, from the broker's door and back.",
        (TOOL, OUTCOME),
        CALL_BUCKETS,
    ),
    "enclave.access.denials": Metric(
        "counter", "{call}", "Calls that a rule refused.", (RULE, ERROR)
    ),
    "enclave.limiter.refusals": Metric(
        "counter", "{call}", "Calls that a rate limit refused.", (SCOPE,)
    ),
    "enclave.run.duration": Metric(
        "histogram",
        "s",
        "How long runs of agents' code took.",
        (OUTCOME, ERROR),
        RUN_BUCKETS,
    ),
    "enclave.sessions": Metric(
        "gauge", "{session}", "Sessions of this process that have not ended.", (STATE,)
    ),
    "enclave.sessions.started": Metric("counter", "{session}", "Sessions that began here."),
    "enclave.session.duration": Metric(
        "histogram", "s", "How long ended sessions lasted.", (STATE, ERROR), SESSION_BUCKETS
    ),
    "enclave.queue.length": Metric(
        "gauge", "{item}", "What waits in each of the broker's queues.", (QUEUE,)
    ),
    "enclave.event_loop.lag": Metric(
        "histogram", "s", "How late the event loop wakes a task.", (), LAG_BUCKETS
    ),
    "enclave.store.operation.duration": Metric(
        "histogram",
        "s",
        "How long the session store took for what each call waits for.",
        (OPERATION,),
        STORE_BUCKETS,
    ),
    "enclave.sandbox.workers": Metric(
        "gauge", "{worker}", "Workers of each sandbox, busy and idle.", (RUNTIME, WORKER)
    ),
    "enclave.sandbox.waiting": Metric(
        "gauge", "{run}", "Runs that wait for a worker of each sandbox.", (RUNTIME,)
    ),
    "enclave.abandoned.threads": Metric(
        "gauge", "{thread}", "Threads of handlers that did not stop, and still run."
    ),
    "enclave.abandoned.handlers": Metric(
        "observable counter", "{handler}", "Handlers that did not stop, and were let go."
    ),
    "enclave.observations.dropped": Metric(
        "observable counter", "{observation}", "Observations that a slow sink did not get."
    ),
    "enclave.tools": Metric("gauge", "{tool}", "Tools in the catalog."),
    "http.server.request.duration": Metric(
        "histogram",
        "s",
        "How long requests took that were let in; a stream until its end.",
        (METHOD, ROUTE, STATUS),
        HTTP_BUCKETS,
    ),
}


class SpanKind(NamedTuple):
    """``kind`` is OpenTelemetry's."""

    kind: Literal["internal", "server"]
    description: str
    attributes: tuple[str, ...]


# The values of attributes that are not said with a span's name.
WHO = (SESSION, PRINCIPAL, TENANT)

SPANS: Mapping[str, SpanKind] = {
    "session": SpanKind(
        "internal", "A session, from its creation to its end.", (*WHO, STATE, ERROR, CALLS)
    ),
    "run": SpanKind("internal", "One run of an agent's code.", (SESSION, RUN, OUTCOME, ERROR)),
    "execute_tool {gen_ai.tool.name}": SpanKind(
        "internal",
        "One tool call, refused ones too.",
        (GEN_AI, TOOL, TYPE, CALL, SESSION, OUTCOME, RULE, SCOPE, ERROR, ARGUMENTS, RESULT),
    ),
    "{http.request.method} {http.route}": SpanKind(
        "server", "A request that the server let in.", (METHOD, ROUTE, PATH, STATUS, ERROR)
    ),
}
