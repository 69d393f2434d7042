"""What the routes of plugins find behind the door, and what they may ask of it."""

from __future__ import annotations

import re
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
from starlette.routing import Mount, Route, WebSocketRoute

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


async def test_one_that_fails_when_it_is_told_keeps_no_other_from_hearing_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[str] = []

    def fail() -> None:
        raise OSError("no way to stop")

    listeners = {"/a": fail, "/b": lambda: told.append("it stops")}
    routes = [route(path, Page(), RouteTraits(on_drain=do)) for path, do in listeners.items()]
    draining = Draining(1.0)
    async with Broker() as broker:
        create_app(broker, routes=routes, draining=draining)
        draining.begin()
    assert told == ["it stops"]
    assert [record.getMessage() for record in caplog.records] == [
        "a plugin's route failed when it was told that the server stops"
    ]


@pytest.mark.parametrize(
    "other",
    [
        Route("/page", Page()),
        Route("/{any}", Page()),
        WebSocketRoute("/page", Page()),
        Mount("/", app=Page()),
    ],
)
@pytest.mark.parametrize("first", [True, False])
async def test_a_public_path_opens_no_other_route(other: Any, first: bool) -> None:
    public = route("/page", Page(), RouteTraits(public=True))
    async with Broker() as broker:
        with pytest.raises(ConfigError, match="'/page' is public, and another route takes it too"):
            create_app(broker, routes=[other, public] if first else [public, other])
        public.enclave = RouteTraits(challenge="Bearer")
        create_app(broker, routes=[other, public])


@pytest.mark.parametrize(
    ("traits", "said"),
    [
        ({"public": True}, "'/page' has an `enclave` that is no RouteTraits"),
        (RouteTraits, "'/page' has an `enclave` that is no RouteTraits"),
        (RouteTraits(challenge="Bearer\r\nX: y"), "the challenge of '/page' is no header"),
        (RouteTraits(challenge="Bearer realm=\u20ac"), "the challenge of '/page' is no header"),
        (RouteTraits(request_headers=("X-In, *",)), "'X-In, *' is no name of a header"),
        (RouteTraits(answer_headers=("X Out",)), "'X Out' is no name of a header"),
    ],
)
async def test_traits_that_could_not_work_stop_the_start(traits: Any, said: str) -> None:
    async with Broker() as broker:
        with pytest.raises(ConfigError, match=re.escape(said)):
            create_app(broker, routes=[route("/page", Page(), traits)])


async def test_traits_of_a_mount_are_refused() -> None:
    mounted: Any = Mount("/below", app=Page())
    mounted.enclave = RouteTraits(public=True)
    async with Broker() as broker:
        with pytest.raises(ConfigError, match="the door can't tell which requests '/below' takes"):
            create_app(broker, routes=[mounted])


@pytest.mark.parametrize("path", ["/sessions", "/health", "/sessions/one", "/tools"])
async def test_a_path_of_the_servers_own_can_not_be_made_public(path: str) -> None:
    async with Broker() as broker:
        routes = [route(path, Page(), RouteTraits(public=True))]
        with pytest.raises(ConfigError, match="a path of the server's own"):
            create_app(broker, routes=routes)


async def test_two_routes_can_not_say_different_things_of_one_path() -> None:
    async with Broker() as broker:
        said = ("Bearer", "Basic")
        routes = [route("/page", Page(), RouteTraits(challenge=one)) for one in said]
        with pytest.raises(ConfigError, match="two routes of plugins have the path '/page'"):
            create_app(broker, routes=routes)


async def test_a_path_with_parameters_has_no_traits() -> None:
    async with Broker() as broker:
        routes = [route("/page/{name}", Page(), RouteTraits(public=True))]
        with pytest.raises(ConfigError, match="it has parameters"):
            create_app(broker, routes=routes)
