"""What httpcore raises, as this package's errors: who failed and how, nothing else."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import httpcore

from .errors import (
    BrokenAnswerError,
    OutboundError,
    OutboundTimeoutError,
    UnreachableError,
    UntrustedError,
)


@contextmanager
def failures_of(host: str) -> Iterator[None]:
    """Errors of the exchange with a host, as OutboundError."""
    try:
        yield
    except httpcore.TimeoutException as problem:
        raise OutboundTimeoutError(f"{host}: {_of_time(problem)}", host=host) from None
    except httpcore.ConnectError as problem:
        raise _not_reached(host, problem) from None
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


def _not_reached(host: str, problem: BaseException) -> UnreachableError:
    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return UntrustedError(
                f"the certificate of {host} is not trusted: {cause.verify_message}", host=host
            )
        if isinstance(cause, ssl.SSLError):
            return UnreachableError(f"TLS with {host} failed", host=host)
        cause = cause.__cause__ or cause.__context__
    return UnreachableError(f"{host} can't be reached", host=host)
