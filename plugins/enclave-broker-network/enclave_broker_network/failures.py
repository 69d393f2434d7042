"""What httpcore raises, as this package's errors: who failed and how, nothing else."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import httpcore

from .errors import BrokenAnswerError, OutboundError, OutboundTimeoutError, UnreachableError


@contextmanager
def failures_of(host: str) -> Iterator[None]:
    """Errors of the exchange with a host, as OutboundError."""
    try:
        yield
    except httpcore.TimeoutException as problem:
        raise OutboundTimeoutError(f"{host}: {_of_time(problem)}", host=host) from None
    except httpcore.ConnectError as problem:
        raise UnreachableError(f"{host} can't be reached: {_why(problem)}", host=host) from None
    except httpcore.NetworkError:
        raise BrokenAnswerError(f"the connection to {host} broke", host=host) from None
    except httpcore.ProtocolError:
        raise BrokenAnswerError(
            f"{host} broke off, or answered with what HTTP does not allow", host=host
        ) from None
    except OutboundError as problem:
        if problem.host is None:
            problem.host = host
        raise
    except OSError:
        raise BrokenAnswerError(f"the connection to {host} broke", host=host) from None


def _of_time(problem: httpcore.TimeoutException) -> str:
    if isinstance(problem, httpcore.ConnectTimeout):
        return "connecting took too long"
    if isinstance(problem, httpcore.PoolTimeout):
        return "there was no free connection in time"
    if isinstance(problem, httpcore.WriteTimeout):
        return "it took too long to take the request"
    return "it took too long to answer"


def _why(problem: BaseException) -> str:
    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return "TLS failed"
        cause = cause.__cause__ or cause.__context__
    return "nobody answers there"
