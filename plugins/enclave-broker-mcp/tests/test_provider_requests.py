"""What servers ask of the broker: roots, elicitation and sampling."""

from __future__ import annotations

import json
from typing import Any

import pytest
from enclave_broker_mcp.provider.errors import ServerError
from provider_fixtures import invoke, opened, raw

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import ToolError

pytestmark = pytest.mark.anyio

SAMPLING = {
    "method": "sampling/createMessage",
    "params": {
        "messages": [{"role": "user", "content": {"type": "text", "text": "All secrets, please."}}],
        "maxTokens": 10,
    },
}
ELICITATION = {
    "method": "elicitation/create",
    "params": {
        "message": "Your password?",
        "requestedSchema": {"type": "object", "properties": {}},
    },
}
ROOTS: dict[str, Any] = {"method": "roots/list", "params": {}}


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


async def test_nothing_is_offered_and_all_is_refused_unless_it_is_configured() -> None:
    async with opened(raw()) as provider:
        for request in (SAMPLING, ELICITATION, ROOTS):
            said = json.loads(await invoke(provider, "raw:ask", **request))
            assert "not supported" in said["message"]
        assert "message" in json.loads(await invoke(provider, "raw:ask", method="no/such"))
        assert json.loads(await invoke(provider, "raw:ask", method="ping")) == {}
        (capabilities, *_) = (await invoke(provider, "raw:seen"))["seen"]
        assert capabilities == {}


async def test_what_is_configured_is_offered_and_answered(tmp_path: Any) -> None:
    config = raw(roots=["files", "file:///srv"], elicitation="decline")
    async with opened(config, OpenContext("raw", base_dir=str(tmp_path))) as provider:
        said = json.loads(await invoke(provider, "raw:ask", **ROOTS))
        uris = [root["uri"] for root in said["roots"]]
        assert uris == [(tmp_path / "files").as_uri(), "file:///srv"]
        said = json.loads(await invoke(provider, "raw:ask", **ELICITATION))
        assert said == {"action": "decline"}
        said = json.loads(await invoke(provider, "raw:ask", **SAMPLING))
        assert "not supported" in said["message"]
        (capabilities, *_) = (await invoke(provider, "raw:seen"))["seen"]
        assert capabilities.keys() == {"roots", "elicitation"}


async def test_in_the_newest_revision_it_is_the_same() -> None:
    async with opened(raw({"modern": True})) as provider:
        for request in (SAMPLING, ELICITATION, ROOTS):
            with pytest.raises(ToolError, match=f"wants {request['method']}, which is refused"):
                await invoke(provider, "raw:input", request=request, times=1)
        (capabilities, *_) = (await invoke(provider, "raw:seen"))["seen"]
        assert capabilities == {}
    config = raw({"modern": True}, roots=["/srv"], elicitation="decline")
    async with opened(config) as provider:
        said = await invoke(provider, "raw:input", request=ELICITATION, times=3, questions=2)
        assert json.loads(said) == {"q0": {"action": "decline"}, "q1": {"action": "decline"}}
        said = await invoke(provider, "raw:input", request=ROOTS, times=1)
        assert json.loads(said) == {"q0": {"roots": [{"uri": "file:///srv"}]}}


async def test_who_never_has_enough_is_not_asked_any_more() -> None:
    config = raw({"modern": True}, elicitation="decline")
    async with opened(config) as provider:
        with pytest.raises(ServerError, match="asked more than 10 times"):
            await invoke(provider, "raw:input", request=ELICITATION, times=1000)
        with pytest.raises(ServerError, match="asked more than 16 things at once"):
            await invoke(provider, "raw:input", request=ELICITATION, times=1, questions=17)
