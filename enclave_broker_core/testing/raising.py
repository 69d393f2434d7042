"""Raises one error many times: each is another object, with a traceback of its own."""

from __future__ import annotations

import copy


def anew(error: BaseException) -> BaseException:
    """An error like that one; also where its class can't be made of its ``args`` alone."""
    try:
        return copy.copy(error)
    except TypeError:
        kind = type(error)
        made = kind.__new__(kind, *error.args)
        made.__dict__.update(vars(error))
        return made
