"""What the routes of plugins find behind the door, and what they may ask of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from enclave_broker_server.app import create_app
from enclave_broker_server.draining import Draining
from enclave_broker_server.settings import ServerSettings
from http_client import Names
from starlette.responses import JSONResponse
from starlette.routing import Route

from enclave_broker_core import Broker
from enclave_broker_core.errors import ConfigError
from enclave_broker_core.route_traits import RouteTraits

pytestmark = pytest.mark.anyio
Opened = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
PAGE = {"origin": "https://page.example"}


class Page:
    """Notes what it found in the scope."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        await JSONResponse("here")(scope, receive, send)


def route(path: str, page: Page, traits: RouteTraits | None = None) -> Any:
    made: Any = Route(path, page)
    if traits is not None:
        made.enclave = traits
    return made


async def test_a_route_finds_the_broker_the_caller_and_what_may_be_passed_on(
    opened: Opened,
) -> None:
    page, broker = Page(), Broker()
    settings = ServerSettings(pass_headers=("X-Token", "X-None"))
    async with opened(
        broker, authenticators=[Names()], routes=[route("/page", page)], settings=settings
    ) as http:
        answer = await http.get("/page", headers={"authorization": "ada", "x-token": "t"})
        refused = await http.get("/page")
    assert (answer.status_code, answer.json()) == (200, "here")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    [scope] = page.scopes
    assert scope["enclave.broker"] is broker
    assert scope["enclave.caller"].principal.id == "ada"
    assert scope["enclave.caller_headers"] == {"x-token": "t"}


async def test_a_public_route_asks_nobody_and_gives_no_broker(opened: Opened) -> None:
    page = Page()
    routes = [route("/about", page, RouteTraits(public=True)), route("/about/more", page)]
    async with opened(Broker(), authenticators=[Names()], routes=routes) as http:
        paths = ("/about", "/about/more", "/about/", "//about", "/ABOUT", "/sessions", "/x/about")
        statuses = [(await http.get(path)).status_code for path in paths]
    assert statuses == [200, 401, 401, 401, 401, 401, 401]
    [scope] = page.scopes
    assert "enclave.broker" not in scope
    assert "enclave.caller" not in scope


async def test_a_route_may_have_its_own_challenge(opened: Opened) -> None:
    traits = RouteTraits(challenge='Bearer resource_metadata="https://x/y"')
    routes = [route("/page", Page(), traits)]
    async with opened(Broker(), authenticators=[Names()], routes=routes) as http:
        asked = await http.get("/page")
        other = await http.get("/sessions")
        twice = [("authorization", "a"), ("authorization", "b")]
        wrong = await http.get("/page", headers=twice)
    assert asked.headers.get_list("www-authenticate") == ['Bearer resource_metadata="https://x/y"']
    assert other.headers.get_list("www-authenticate") == ["Bearer"]
    assert (wrong.status_code, "www-authenticate" in wrong.headers) == (400, False)


async def test_pages_may_send_and_read_what_the_route_says(opened: Opened) -> None:
    traits = RouteTraits(request_headers=("X-In",), answer_headers=("X-Out",))
    settings = ServerSettings(origins=("https://page.example",))
    routes = [route("/page", Page(), traits)]
    async with opened(Broker(), routes=routes, settings=settings) as http:
        asked = await http.options("/page", headers=PAGE)
        answer = await http.get("/page", headers=PAGE)
        usual = await http.options("/sessions", headers=PAGE)
    assert asked.headers["access-control-allow-headers"].endswith(", X-In")
    assert answer.headers["access-control-expose-headers"].endswith(", X-Out")
    assert "X-In" not in usual.headers["access-control-allow-headers"]
    assert "X-Out" not in usual.headers["access-control-expose-headers"]


async def test_a_route_is_told_once_that_the_server_stops() -> None:
    told: list[str] = []
    traits = RouteTraits(on_drain=lambda: told.append("it stops"))
    draining = Draining(1.0)
    async with Broker() as broker:
        create_app(broker, routes=[route("/page", Page(), traits)], draining=draining)
        assert told == []
        draining.begin()
        draining.begin()
    assert told == ["it stops"]


@pytest.mark.parametrize("path", ["/sessions", "/health", "/sessions/one", "/tools"])
async def test_a_path_of_the_servers_own_can_not_be_made_public(path: str) -> None:
    async with Broker() as broker:
        routes = [route(path, Page(), RouteTraits(public=True))]
        with pytest.raises(ConfigError, match="a path of the server's own"):
            create_app(broker, routes=routes)


async def test_two_routes_can_not_say_different_things_of_one_path() -> None:
    async with Broker() as broker:
        routes = [route("/page", Page(), RouteTraits(public=public)) for public in (True, False)]
        with pytest.raises(ConfigError, match="two routes of plugins have the path '/page'"):
            create_app(broker, routes=routes)


async def test_a_path_with_parameters_has_no_traits() -> None:
    async with Broker() as broker:
        routes = [route("/page/{name}", Page(), RouteTraits(public=True))]
        with pytest.raises(ConfigError, match="it has parameters"):
            create_app(broker, routes=routes)
