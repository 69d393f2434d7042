"""What the service is asked: the ``input`` document of a request."""

from __future__ import annotations

import json

from enclave_broker_core.contracts import AccessRequest
from enclave_broker_core.models import Principal
from pydantic import JsonValue


def question(request: AccessRequest) -> bytes:
    """The body of a question. Equal requests have the same one, byte for byte.

    ValueError for what is no JSON, such as a number that is infinite.
    """
    document: dict[str, JsonValue] = {
        "tool": request.tool,
        "principal": None if request.principal is None else _caller(request.principal),
        "session": {"id": request.session_id, "metadata": dict(request.metadata)},
    }
    # A rule can tell a call without arguments, {}, from a question that is about none.
    if request.arguments is not None:
        document["arguments"] = dict(request.arguments)
    return json.dumps({"input": document}, allow_nan=False, sort_keys=True).encode()


def _caller(principal: Principal) -> dict[str, JsonValue]:
    return {
        "id": principal.id,
        "tenant": principal.tenant,
        "roles": list[JsonValue](sorted(principal.roles)),
        "attributes": dict(principal.attributes),
        "authenticated": principal.authenticated,
    }
