"""A policy that asks a service by OPA's Data API, and refuses when it gets no answer."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from enclave_broker_core.contracts import AccessPolicy, AccessRequest, OpenContext
from enclave_broker_core.errors import BrokerError
from enclave_broker_core.models import Decision, Verdict
from enclave_broker_network.messages import OutboundRequest
from enclave_broker_network.outbound import Outbound, open_outbound

from .answers import FAILED, BadAnswerError, decision
from .cache import DecisionCache
from .config import OpaConfig
from .questions import question

log = logging.getLogger(__name__)


class OpaPolicy:
    """An AccessPolicy: a service decides. It is not ``stable``, for rules and data change there.

    A question without an answer is a refusal by the rule ``opa failed``, and a line in the log.
    It raises nothing: the log would have a traceback for each call while the service is away.
    """

    def __init__(
        self, config: OpaConfig, outbound: Outbound, cache: DecisionCache | None = None
    ) -> None:
        self.judges_arguments = config.arguments
        self._url = config.url
        self._token = config.token
        self._outbound = outbound
        self._cache = cache

    async def decide(self, request: AccessRequest) -> Decision:
        try:
            asked = question(request)
        except (ValueError, TypeError, RecursionError):
            return self._failed(request, "what is to be judged is no JSON")
        if self._cache is not None and (known := self._cache.get(asked)) is not None:
            return known
        try:
            answer = await self._outbound.send(self._request(asked))
            decided = self._blotted(decision(answer.status, answer.body))
        except BrokerError as error:
            return self._failed(request, error.message)
        except BadAnswerError as error:
            return self._failed(request, str(error))
        if self._cache is not None:
            self._cache.put(asked, decided)
        return decided

    def _request(self, asked: bytes) -> OutboundRequest:
        headers = [("content-type", "application/json"), ("accept", "application/json")]
        if self._token is not None:
            headers.append(("authorization", f"Bearer {self._token.get_secret_value()}"))
        return OutboundRequest("POST", self._url, tuple(headers), asked)

    def _blotted(self, decided: Decision) -> Decision:
        """A decision without the token, should a rule have said it."""
        token = "" if self._token is None else self._token.get_secret_value()
        if not token or token not in decided.rule + decided.reason:
            return decided
        return Decision(
            decided.verdict,
            decided.rule.replace(token, "[secret]"),
            decided.reason.replace(token, "[secret]"),
        )

    def _failed(self, request: AccessRequest, why: str) -> Decision:
        log.warning("%r is refused, for nobody could be asked: %s", request.tool, why)
        return Decision(Verdict.DENY, FAILED, why)


@asynccontextmanager
async def open_policy(config: OpaConfig, context: OpenContext) -> AsyncIterator[AccessPolicy]:
    kept = config.cache
    cache = None if kept is None else DecisionCache(kept.seconds, kept.entries)
    async with open_outbound(
        config.rules,
        origins=[config.url],
        more_headers=lambda request: tuple(context.trace_headers()),
    ) as outbound:
        yield OpaPolicy(config, outbound, cache)
