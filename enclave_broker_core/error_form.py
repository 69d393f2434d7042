"""Errors on their way between the processes of one broker: as JSON, and made of it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .errors import BrokerError

# What single kinds have besides; what is not in the form is not there.
_OWN = ("fields", "scope", "limit", "problems")


def error_form(error: BrokerError) -> dict[str, Any]:
    """The error as JSON, for ``revived``."""
    form: dict[str, Any] = {
        "code": error.code,
        "message": error.message,
        "details": list(error.details),
        "retryAfter": error.retry_after,
    }
    own = {name: getattr(error, name) for name in _OWN if hasattr(error, name)}
    return {**form, "own": own} if own else form


def revived(form: Mapping[str, Any]) -> BrokerError:
    """The error that a form was made of; of a kind that is not known here, its root's."""
    kind = next((kind for kind in _kinds(BrokerError) if kind.code == form["code"]), BrokerError)
    error = kind.__new__(kind)
    BrokerError.__init__(error, str(form["message"]))
    error.details = tuple(form["details"])
    error.retry_after = form["retryAfter"]
    own = form.get("own", {})
    if "fields" in own:
        own = {**own, "fields": tuple(tuple(field) for field in own["fields"])}
    error.__dict__.update({name: own[name] for name in _OWN if name in own})
    return error


def _kinds(root: type[BrokerError]) -> Iterator[type[BrokerError]]:
    """Every kind with a code of its own; what inherits one is no better known by it."""
    for kind in root.__subclasses__():
        if "code" in kind.__dict__:
            yield kind
        yield from _kinds(kind)
