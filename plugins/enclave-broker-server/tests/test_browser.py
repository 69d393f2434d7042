"""The page of examples/browser, from an origin of its own, in headless Chromium."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import anyio
import pytest
from chromium import MISSING, Page, browser, chromium, page_in
from cut_proxy import Cut, proxy_to
from enclave_broker_server.settings import ServerSettings
from starlette.applications import Starlette
from starlette.staticfiles import StaticFiles

from enclave_broker_core import Broker, use

pytestmark = pytest.mark.anyio
needs_chromium = pytest.mark.skipif(chromium() is None, reason=MISSING)

FOLDER = Path(__file__).parents[3] / "examples/browser"
EVENTS = """[...document.querySelectorAll("#events li")].map(
    (item) => [...item.children].map((child) => child.textContent))"""
STATUS = "document.querySelector('#status').textContent"

Serving = Callable[..., Any]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with browser(tmp_path_factory.mktemp("chromium")) as address:
        yield address


@pytest.fixture
async def site(serving_app: Serving) -> AsyncIterator[str]:
    """The origin of the page."""
    files = Starlette()
    files.mount("/", StaticFiles(directory=FOLDER, html=True))
    async with serving_app(files) as url:
        yield url


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    broker = Broker(runtime=use("monty", workers=1))

    @broker.tool("users:get")
    async def get(id: int) -> dict[str, Any]:
        return {"id": id}

    @broker.tool("users:wait")
    async def wait() -> None:
        await anyio.sleep_forever()

    async with broker:
        yield broker


@pytest.fixture
async def url(broker: Broker, serving: Serving, site: str) -> AsyncIterator[str]:
    """The broker, which lets the page in."""
    async with serving(broker, settings=ServerSettings(origins=(site,))) as url:
        yield url


@asynccontextmanager
async def opened(address: str, site: str, server: str) -> AsyncIterator[Page]:
    async with page_in(address) as page:
        await page.open(site)
        await page.type("#server", server)
        yield page


async def run(page: Page, code: str) -> None:
    await page.type("#code", code)
    await page.click("#run")


@needs_chromium
async def test_it_runs_code_and_shows_its_events(address: str, site: str, url: str) -> None:
    async with opened(address, site, url) as page:
        await run(page, 'print("ü☃")\nawait call_tool("users:get", {"id": 1})')
        await page.until(f"{STATUS} === 'Done.'")
        shown = await page.run(EVENTS)
        assert [event[:2] for event in shown] == [
            ["1", "session_init"],
            ["2", "stdout"],
            ["3", "tool_call"],
            ["4", "tool_result_applied"],
            ["5", "final"],
        ]
        assert shown[1][2] == "ü☃\n"
        assert shown[2][2] == 'users:get { "id": 1 }'
        assert shown[4][2] == '{ "id": 1 }'
        assert await page.run("document.querySelector('#run').disabled") is False
        await run(page, "1 +")
        await page.until(f"{STATUS}.startsWith('Ended: ')")
        assert [event[1] for event in await page.run(EVENTS)] == ["session_init", "final"]
        assert await page.run("document.querySelector('.failed').textContent") == "final"
        assert page.errors == []


@needs_chromium
async def test_what_it_shows_is_text(address: str, site: str, url: str) -> None:
    bad = "</pre><img src=x onerror=window.broken=1><script>window.broken=1</script>"
    async with opened(address, site, url) as page:
        await run(page, f'print("{bad}")\nraise ValueError("{bad}")')
        await page.until(f"{STATUS}.startsWith('Ended: ')")
        shown = await page.run(EVENTS)
        assert shown[1] == ["2", "stdout", bad + "\n"]
        assert bad in shown[2][2]
        assert bad in await page.run(STATUS)
        assert await page.run("document.querySelectorAll('main img, main script').length") == 0
        assert await page.run("window.broken === undefined")
        assert page.errors == []


@needs_chromium
async def test_its_button_cancels(address: str, site: str, url: str, broker: Broker) -> None:
    async with opened(address, site, url) as page:
        assert await page.run("document.querySelector('#cancel').disabled") is True
        await run(page, 'await call_tool("users:wait", {})')
        await page.until("document.querySelectorAll('#events li').length === 2")
        assert await page.run("document.querySelector('#run').disabled") is True
        await page.click("#cancel")
        await page.until(f"{STATUS} === 'Ended: cancelled on the page'")
        assert (await page.run(EVENTS))[-1][1:] == ["final", "cancelled on the page"]
        assert page.errors == []
    (record,) = await broker.list_sessions(include_ended=True)
    assert record.state.value == "cancelled"


@needs_chromium
@pytest.mark.parametrize("part", [0.0, 0.5])
async def test_it_comes_back_when_its_connection_breaks(
    part: float, address: str, site: str, url: str
) -> None:
    async with proxy_to(url) as proxy, opened(address, site, proxy.url) as page:
        # The first of them also carries the question whether the page may ask.
        proxy.plan.extend([Cut(2, part), Cut(1, part)])
        code = 'for number in range(3):\n    await call_tool("users:get", {"id": number})'
        await run(page, code)
        await page.until(f"{STATUS} === 'Done.'")
        shown = await page.run(EVENTS)
        assert [event[0] for event in shown] == [str(seq) for seq in range(1, 9)]
        calls = [event[2] for event in shown if event[1] == "tool_call"]
        assert calls == [f'users:get {{ "id": {number} }}' for number in range(3)]
        assert not proxy.plan
        assert len(proxy.requests) >= 3


@needs_chromium
async def test_a_page_that_is_not_let_in_says_so(
    address: str, site: str, broker: Broker, serving: Serving
) -> None:
    async with serving(broker) as closed, opened(address, site, closed) as page:
        await run(page, "1")
        await page.until(f"{STATUS}.includes('does not let this page in')")
        assert await page.run(EVENTS) == []
        assert await broker.list_sessions(include_ended=True) == []


@needs_chromium
async def test_a_refusal_is_shown(address: str, site: str, url: str) -> None:
    async with opened(address, site, url) as page:
        await run(page, "#" * 1_100_000)
        await page.until(f"{STATUS}.startsWith('Ended: the code is longer')")
        assert [event[1] for event in await page.run(EVENTS)] == ["final"]


class Reading(HTMLParser):
    """What matters of a page for who does not see it, or does not use a mouse."""

    def __init__(self) -> None:
        super().__init__()
        self.labelled: set[str] = set()
        self.fields: list[str] = []
        self.buttons: list[str | None] = []
        self.roles: dict[str, str] = {}
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found.append((tag, given))
        if tag == "label":
            self.labelled.add(given["for"] or "")
        elif tag in ("input", "textarea", "select"):
            self.fields.append(given["id"] or "")
        elif tag == "button":
            self.buttons.append(given.get("type"))
        if given.get("role"):
            self.roles[given["id"] or ""] = given["role"] or ""


def test_everybody_can_use_the_page() -> None:
    reading = Reading()
    reading.feed((FOLDER / "index.html").read_text())
    assert sorted(reading.fields) == sorted(reading.labelled)
    assert reading.buttons == ["submit", "button"]
    assert reading.roles == {"status": "status", "events": "log"}
    assert ("html", {"lang": "en"}) in reading.found
    names = [tag for tag, _ in reading.found]
    assert names.count("main") == names.count("h1") == names.count("title") == 1


def test_the_page_needs_nothing_else_and_writes_no_markup() -> None:
    text = (FOLDER / "index.html").read_text()
    reading = Reading()
    reading.feed(text)
    outside = [given for _, given in reading.found if given.get("src") or given.get("href")]
    assert outside == []
    for writes in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert writes not in text
