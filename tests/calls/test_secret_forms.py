"""A tool's secret stays hidden where the tool, or an agent's code, shows it encoded."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from written_secrets import IN_URLS, holds, in_base64

from enclave_broker_core import Broker, LoggingMiddleware, Session, ToolContext, ToolError
from enclave_broker_core.redaction import BLOT, KEPT

pytestmark = pytest.mark.anyio

SECRET = 'p@ss "wörd"/+~1234?'
WRITTEN = {
    "as it is": SECRET,
    "json": json.dumps(SECRET),
    "ascii json": json.dumps({"password": SECRET}, ensure_ascii=True),
    "python": repr([SECRET]),
    **{how: f"https://a.example/?key={encode(SECRET)}&b=1" for how, encode in IN_URLS.items()},
    **{
        f"base64 {number} behind {len(before)}": f"Basic {text}"
        for before in ("", "a", "ad", "ada:")
        for number, text in enumerate(in_base64(before, SECRET, ":more" if before else ""))
    },
}


class Vault:
    def __init__(self) -> None:
        self.value = SECRET

    async def get(self, name: str) -> str | None:
        return self.value if name == "KEY" else None


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # as the runtime


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    broker = Broker(secrets=[Vault()], middleware=[LoggingMiddleware()], runtime="monty")

    @broker.tool("leak", secrets=["KEY"])
    async def leak(how: str, ctx: ToolContext, echo: Any = None) -> Any:
        text = WRITTEN[how]
        await ctx.log("info", f"asked {text}", {"url": [text], text: 1})
        await ctx.partial({"part": text})
        return {"text": f"<{text}>", text: [text], "of": len(ctx.secret("KEY"))}

    @broker.tool("fail", secrets=["KEY"])
    async def fail(how: str, kind: str) -> None:
        text = WRITTEN[how]
        if kind == "own":
            raise ToolError(f"the service said {text}", details=[{"type": "said", "text": text}])
        raise ValueError(f"no answer from {text}")

    async with broker:
        yield broker


async def told_by(session: Session) -> str:
    """All that a session has kept and sent."""
    lines = [event.to_json().decode() async for event in session.events()]
    for line in lines:
        json.loads(line)
    return "\n".join([*lines, str(await session.history())])


def hides(text: str) -> None:
    assert not holds(text, SECRET)
    assert not holds(text, json.dumps(SECRET)[1:-1])
    for part in ("w\\u00f6rd", "w\\\\u00f6rd", "wörd", "w%C3%B6rd", "w%c3%b6rd"):
        assert part not in text


@pytest.mark.parametrize("how", WRITTEN)
async def test_no_result_event_history_log_or_error_has_it(
    broker: Broker, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert holds(WRITTEN[how], SECRET) or "json" in how or how == "python"
    caplog.set_level(logging.DEBUG)
    async with broker.session() as session:
        await session.call("leak", {"how": how})  # from now on the value is known
        result = await session.call("leak", {"how": how, "echo": WRITTEN[how]})
        assert result["of"] == len(SECRET)
        assert BLOT in result["text"]
        told = [json.dumps(result), json.dumps(result, ensure_ascii=False), result["text"]]
        for kind in ("own", "python"):
            with pytest.raises(ToolError) as caught:
                await session.call("fail", {"how": how, "kind": kind})
            assert BLOT in caught.value.message
            told += [str(caught.value), repr(caught.value), str(caught.value.to_wire())]
        outcome = await session.run(f"print('see', {WRITTEN[how]!r})\n{WRITTEN[how]!r}")
        assert BLOT in str(outcome.result)
        failed = await session.run(f"raise ValueError({WRITTEN[how]!r})")
        told += [str(outcome), str(failed), str(failed.error)]
        await session.cancel(f"because of {WRITTEN[how]}")
        told.append(await told_by(session))
    assert '"see ' in told[-1]  # what was printed is there
    for text in (*told, caplog.text):
        hides(text)
    assert BLOT in caplog.text


async def test_the_values_before_and_after_a_rotation_are_hidden() -> None:
    vault = Vault()
    broker = Broker(secrets=[vault])

    @broker.tool("t", secrets=["KEY"])
    def t(ctx: ToolContext) -> list[Any]:
        return ["the-value-before", "the-value-after", len(ctx.secret("KEY"))]

    async with broker, broker.session() as session:
        vault.value = "the-value-before"
        assert await session.call("t") == [BLOT, "the-value-after", 16]
        vault.value = "the-value-after"
        assert await session.call("t") == [BLOT, BLOT, 15]
        for number in range(KEPT - 1):
            vault.value = f"rotated-{number:04}"
            assert await session.call("t") == [BLOT, BLOT, 12] or number == KEPT - 2
        assert await session.call("t") == ["the-value-before", BLOT, 12]


async def test_details_that_are_no_json_are_left_out() -> None:
    broker = Broker(secrets=[Vault()])

    @broker.tool("t", secrets=["KEY"])
    def t() -> None:
        raise ToolError("no", details=[{"type": "odd", "value": object()}])

    async with broker, broker.session() as session:
        with pytest.raises(ToolError) as caught:
            await session.call("t")
        assert caught.value.to_wire() == {"code": "TOOL_ERROR", "message": "no"}
