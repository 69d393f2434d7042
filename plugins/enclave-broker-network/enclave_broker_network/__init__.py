"""The network guard: every request that a plugin sends to the outside goes through it."""

from .errors import (
    AnswerTooLargeError,
    BrokenAnswerError,
    OutboundError,
    OutboundTimeoutError,
    RefusedError,
    UnreachableError,
    UntrustedError,
)
from .fields import header_value, may_set
from .guard import Resolver, system_resolver
from .messages import IDEMPOTENT_METHODS, SAFE_METHODS, OutboundRequest, OutboundResponse
from .outbound import MoreHeaders, OnProgress, Outbound, open_outbound
from .paths import path_segment
from .retries import Retries
from .rules import NetworkRules, Timeouts
from .urls import Origin, Url, join_url, parse_url

__all__ = [
    "IDEMPOTENT_METHODS",
    "SAFE_METHODS",
    "AnswerTooLargeError",
    "BrokenAnswerError",
    "MoreHeaders",
    "NetworkRules",
    "OnProgress",
    "Origin",
    "Outbound",
    "OutboundError",
    "OutboundRequest",
    "OutboundResponse",
    "OutboundTimeoutError",
    "RefusedError",
    "Resolver",
    "Retries",
    "Timeouts",
    "UnreachableError",
    "UntrustedError",
    "Url",
    "header_value",
    "join_url",
    "may_set",
    "open_outbound",
    "parse_url",
    "path_segment",
    "system_resolver",
]
