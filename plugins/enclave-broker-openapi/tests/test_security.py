"""Which credentials go with which operation, where they stand, and how tokens are fetched."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import anyio
import pytest
from enclave_broker_network.outbound import open_outbound
from enclave_broker_network.rules import NetworkRules
from enclave_broker_openapi.authorising import Authoriser
from enclave_broker_openapi.config import OpenapiConfig
from openapi_documents import BASE, header_of, outcome_of, paths
from pydantic_core import to_json

from enclave_broker_core.errors import SecretError, ToolError

pytestmark = pytest.mark.anyio

SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "basic": {"type": "http", "scheme": "Basic"},
    "digest": {"type": "http", "scheme": "digest"},
    "header": {"type": "apiKey", "in": "header", "name": "X-Key"},
    "query": {"type": "apiKey", "in": "query", "name": "k y"},
    "cookie": {"type": "apiKey", "in": "cookie", "name": "sid"},
    "oauth": {"type": "oauth2", "flows": {}},
    "oidc": {"type": "openIdConnect"},
    "alias": {"$ref": "#/components/securitySchemes/bearer"},
}
BEARER = {"type": "bearer", "token": "token-of-bearer"}
BASIC = {"type": "basic", "username": "ada", "password": "pass"}
KEY = {"type": "api_key", "key": "the key"}
NAMED = {"bearer": BEARER, "header": KEY, "query": KEY, "cookie": KEY, "basic": BASIC}
MISSING = object()


def secret(name: str) -> str:
    raise AssertionError(name)


async def shown(security: Any, auth: Any, root: Any = MISSING) -> tuple[Any, ...]:
    """Headers, query and cookies of an operation; or what it wants and there is not."""
    document = paths(op={} if security is MISSING else {"security": security})
    document["components"] = {"securitySchemes": SCHEMES}
    if root is not MISSING:
        document["security"] = root
    outcome = outcome_of(document, auth=auth)
    [made] = outcome.made
    if outcome.notes:
        [note] = outcome.notes
        return (note.said,)
    async with open_outbound(NetworkRules()) as outbound:
        found = await Authoriser(outbound).show(made.uses, secret)
    request = made.plan.request({}, found)
    names = [name for name, _ in request.headers if name not in ("Accept", "Content-Type")]
    headers = [f"{name}: {header_of(request, name)}" for name in names]
    query = request.url.partition("?")[2]
    return (*headers, *([query] if query else []))


AUTHORISATION = "Authorization: Bearer token-of-bearer"


@pytest.mark.parametrize(
    ("security", "auth", "expected"),
    [
        ([{"bearer": []}], BEARER, (AUTHORISATION,)),
        ([{"alias": []}], BEARER, (AUTHORISATION,)),
        ([{"oauth": ["x"]}], BEARER, (AUTHORISATION,)),
        ([{"oidc": []}], BEARER, (AUTHORISATION,)),
        ([{"basic": []}], BASIC, ("Authorization: Basic YWRhOnBhc3M=",)),
        ([{"header": []}], KEY, ("X-Key: the key",)),
        ([{"query": []}], KEY, ("k%20y=the%20key",)),
        ([{"cookie": []}], KEY, ("Cookie: sid=the key",)),
        # The one that is said, and no other of its kind.
        ([{"header": []}], {**KEY, "name": "X-Key", "in": "header"}, ("X-Key: the key",)),
        ([{"header": []}], {**KEY, "name": "X-Other"}, None),
        # AND, OR, neither, and nothing said.
        ([{"bearer": [], "header": []}], NAMED, (AUTHORISATION, "X-Key: the key")),
        ([{"header": [], "query": []}], KEY, ("X-Key: the key", "k%20y=the%20key")),
        ([{"digest": []}, {"query": []}], NAMED, ("k%20y=the%20key",)),
        ([{"bearer": [], "digest": []}, {"header": []}], NAMED, ("X-Key: the key",)),
        ([{}], BEARER, ()),
        ([{}, {"bearer": []}], BEARER, (AUTHORISATION,)),
        ([{}, {"digest": []}], BEARER, ()),
        ([], BEARER, ()),
        (MISSING, BEARER, (AUTHORISATION,)),
        (MISSING, KEY, ("Authorization: the key",)),
        (MISSING, NAMED, ()),
        # By its name a credential fulfils a scheme of any kind.
        ([{"digest": []}], {"digest": BEARER}, (AUTHORISATION,)),
        ([{"gone": []}], {"gone": BEARER}, (AUTHORISATION,)),
        ([{"basic": []}], BEARER, None),
        ([{"gone": []}], BEARER, None),
        ([{"bearer": []}], None, None),
    ],
)
async def test_requirements(security: Any, auth: Any, expected: Any) -> None:
    found = await shown(security, auth)
    if expected is None:
        wanted = " and ".join(security[0])
        assert found == (f"it wants {wanted}, for which no credentials are configured",)
    else:
        assert found == expected


async def test_requirements_of_the_document_hold_unless_the_operation_has_its_own() -> None:
    assert await shown(MISSING, BEARER, root=[{"bearer": []}]) == (AUTHORISATION,)
    assert await shown(MISSING, BEARER, root=[]) == ()
    assert await shown([], BEARER, root=[{"bearer": []}]) == ()
    assert await shown([{"bearer": []}], BEARER, root=[]) == (AUTHORISATION,)


async def test_schemes_of_swagger() -> None:
    document = {
        "swagger": "2.0",
        "host": "api.example.com",
        "securityDefinitions": {
            "basic": {"type": "basic"},
            "oauth": {"type": "oauth2", "flow": "application", "tokenUrl": "https://t.example.com"},
            "key": {"type": "apiKey", "in": "query", "name": "key"},
        },
        "paths": {
            f"/{name}": {"get": {"operationId": name, "security": [{name: ["s"]}]}}
            for name in ("basic", "oauth", "key")
        },
    }
    client = {"type": "client_credentials", "client_id": "a", "client_secret": "b"}
    auth = {"basic": BASIC, "oauth": client, "key": KEY}
    made = {one.operation_id: one for one in outcome_of(document, auth=auth).made}
    assert made["basic"].uses[0].name == "Authorization"
    assert made["oauth"].uses[0].token_url == "https://t.example.com"
    assert made["oauth"].uses[0].scopes == ("s",)
    assert (made["key"].uses[0].place, made["key"].uses[0].name) == ("query", "key")


async def test_secrets_that_are_named_are_asked_for_at_each_call() -> None:
    document = paths(op={})
    auth = {"type": "basic", "username": "{secret:USER}", "password": "{secret:PASSWORD}"}
    [made] = outcome_of(document, auth=auth).made
    assert made.spec.secrets == ("PASSWORD", "USER")
    values = {"USER": "a", "PASSWORD": "b"}
    async with open_outbound(NetworkRules()) as outbound:
        authoriser = Authoriser(outbound)
        first = await authoriser.show(made.uses, values.__getitem__)
        values["PASSWORD"] = "c"
        second = await authoriser.show(made.uses, values.__getitem__)
    assert first.headers == [("Authorization", "Basic YTpi")]
    assert second.headers == [("Authorization", "Basic YTpj")]
    assert "YTpi" not in repr(first)


async def test_a_header_of_the_source_goes_over_what_is_usual() -> None:
    [made] = outcome_of(paths(op={}), headers={"accept": "text/csv"}).made
    async with open_outbound(NetworkRules()) as outbound:
        found = await Authoriser(outbound).show(made.uses, secret)
    assert made.plan.request({}, found).headers == (("accept", "text/csv"),)


def test_no_repr_shows_a_credential() -> None:
    for auth in (BEARER, BASIC, KEY, NAMED):
        config = OpenapiConfig.model_validate({"spec": BASE, "auth": auth})
        for text in ("token-of-bearer", "ada", "pass'", "the key"):
            assert text not in repr(config)


async def test_a_credential_goes_over_what_a_caller_gives() -> None:
    """A parameter that is the credential's is no argument."""
    parameters = [
        {"name": "x-key", "in": "header", "schema": {"type": "string"}},
        {"name": "k y", "in": "query", "schema": {"type": "string"}},
        {"name": "q", "in": "query", "schema": {"type": "string"}},
    ]
    security = [{"header": [], "query": []}]
    document = paths(op={"security": security, "parameters": parameters})
    document["components"] = {"securitySchemes": SCHEMES}
    [made] = outcome_of(document, auth=NAMED).made
    assert list(made.spec.input_schema["properties"]) == ["q"]


class TokenServer:
    """Gives out tokens, each another, and notes how it was asked."""

    def __init__(self, answer: Any = None, status: int = 200) -> None:
        self.asked: list[tuple[dict[str, str], dict[str, str]]] = []
        self.answer = answer
        self.status = status

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append((headers, dict(parse_qsl(message["body"].decode()))))
        answer = self.answer or {"access_token": f"t{len(self.asked)}", "expires_in": 100}
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": to_json(answer)})


RULES = NetworkRules(schemes=frozenset({"http"}), allow_private=("loopback",))


def client(url: str, **more: Any) -> Any:
    auth = {
        "type": "client_credentials",
        "client_id": "id:1",
        "client_secret": "se cret",
        "token_url": url,
        **more,
    }
    [made] = outcome_of(paths(op={}), auth=auth).made
    return made.uses


async def test_a_token_is_fetched_once_and_again_when_its_time_is_over(serve: Any) -> None:
    server = TokenServer()
    url = serve(server)
    now = [0.0]
    uses = client(url, scopes=["a", "b"], parameters={"audience": "x"})
    async with open_outbound(RULES, origins=[url]) as outbound:
        authoriser = Authoriser(outbound, lambda: now[0])
        found = []

        async def show() -> None:
            found.append((await authoriser.show(uses, secret)).headers)

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(show)
        now[0] = 69.0
        await show()
        assert found == [[("Authorization", "Bearer t1")]] * 6
        now[0] = 71.0  # half a minute before its end
        await show()
        assert found[-1] == [("Authorization", "Bearer t2")]
        assert authoriser.forget(uses)
        assert not authoriser.forget(uses)
        await show()
        assert found[-1] == [("Authorization", "Bearer t3")]
    assert len(server.asked) == 3
    headers, fields = server.asked[0]
    assert headers["authorization"] == "Basic aWQlM0ExOnNlJTIwY3JldA=="
    assert fields == {"grant_type": "client_credentials", "scope": "a b", "audience": "x"}


async def test_a_client_may_show_itself_in_the_body(serve: Any) -> None:
    server = TokenServer()
    url = serve(server)
    async with open_outbound(RULES, origins=[url]) as outbound:
        await Authoriser(outbound).show(client(url, client_auth="post"), secret)
    headers, fields = server.asked[0]
    assert "authorization" not in headers
    assert fields["client_id"] == "id:1"
    assert fields["client_secret"] == "se cret"


@pytest.mark.parametrize(
    ("answer", "status"), [({"error": "no"}, 400), ({}, 200), ([], 200), ({"access_token": 1}, 200)]
)
async def test_no_token_is_an_error_without_the_secret(
    serve: Any, answer: Any, status: int
) -> None:
    url = serve(TokenServer(answer or {"x": 1}, status))
    async with open_outbound(RULES, origins=[url]) as outbound:
        with pytest.raises(ToolError, match="no token") as caught:
            await Authoriser(outbound).show(client(url), secret)
    assert "se cret" not in str(caught.value)


async def test_without_a_token_url_nothing_is_sent() -> None:
    auth = {"type": "client_credentials", "client_id": "a", "client_secret": "b"}
    [made] = outcome_of(paths(op={}), auth=auth).made
    async with open_outbound(RULES) as outbound:
        with pytest.raises(SecretError, match="no token_url"):
            await Authoriser(outbound).show(made.uses, secret)


class Guarded:
    """A service whose document is open, and which takes the second token and no other."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        said: Any = paths(op={}) | {"servers": [{"url": "/"}]}
        status = 200
        if scope["path"] == "/op":
            self.shown.append(headers[b"authorization"].decode())
            said, status = self.shown[-1], 200 if self.shown[-1] == "Bearer t2" else 401
        start = {"type": "http.response.start", "status": status}
        await send({**start, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": to_json(said)})


async def test_a_token_that_is_refused_is_fetched_anew_once(
    serve: Any, open_tools: Any, call: Any
) -> None:
    tokens, service = TokenServer(), Guarded()
    auth = {
        "type": "client_credentials",
        "client_id": "a",
        "client_secret": "b",
        "token_url": serve(tokens),
    }
    async with open_tools(spec=f"{serve(service)}/openapi.json", auth=auth) as provider:
        tokens.asked.clear()  # the document had one of its own
        assert await call(provider, "api:op") == "Bearer t2"
        assert service.shown == ["Bearer t1", "Bearer t2"]
    tokens.answer = {"access_token": "wrong"}
    async with open_tools(spec=f"{serve(service)}/openapi.json", auth=auth) as provider:
        with pytest.raises(ToolError, match="with status 401"):
            await call(provider, "api:op")
    assert service.shown[2:] == ["Bearer wrong", "Bearer wrong"]
