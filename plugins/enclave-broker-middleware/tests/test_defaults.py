"""Which arguments are filled in, from where, and which are not the agent's to choose."""

from __future__ import annotations

from typing import Any

import pytest
from enclave_broker_middleware.defaults import Defaults, DefaultsConfig
from hypothesis import given
from hypothesis import strategies as st
from middleware_calls import ADA, Answers, call, spec
from pydantic import ValidationError

from enclave_broker_core import AccessDeniedError, Principal

pytestmark = pytest.mark.anyio

EVE = Principal(
    id="eve", tenant="north", roles=frozenset({"b", "a"}), attributes={"region": {"name": "eu"}}
)


def defaults(*rules: dict[str, Any]) -> Defaults:
    given = [{"tools": ["users:*"], **rule} for rule in rules]
    return Defaults(DefaultsConfig.model_validate({"rules": given}))


async def passed_on(middleware: Defaults, args: dict[str, Any], **fields: Any) -> Any:
    below = Answers("well")
    given_call = call(spec(), args, **fields)
    assert await middleware(given_call, below) == "well"
    passed = below.calls[0]
    # Unchanged, it is the very call; changed, it has to be granted again.
    assert (passed is given_call) == (passed.arguments_json == given_call.arguments_json)
    assert (passed is given_call) == (passed.grant == ["granted"])
    return dict(passed.args)


@pytest.mark.parametrize(
    ("rule", "args", "expected"),
    [
        ({"defaults": {"limit": 5}}, {}, {"limit": 5}),
        ({"defaults": {"limit": 5}}, {"limit": None}, {"limit": None}),
        ({"fixed": {"dry": True}}, {"dry": False}, {"dry": True}),
        ({"fixed": {"dry": True}}, {"dry": 1}, {"dry": True}),
        ({"tools": ["orders:*"], "fixed": {"dry": True}}, {"dry": False}, {"dry": False}),
        ({"defaults_from": {"who": "/principal/id"}}, {}, {"who": "eve"}),
        ({"defaults_from": {"who": "/principal/id"}}, {"who": "bob"}, {"who": "bob"}),
        ({"fixed_from": {"who": "/principal/id"}}, {"who": "bob"}, {"who": "eve"}),
        ({"fixed_from": {"roles": "/principal/roles"}}, {}, {"roles": ["a", "b"]}),
        ({"fixed_from": {"r": "/principal/attributes/region/name"}}, {}, {"r": "eu"}),
        ({"fixed_from": {"s": "/session/id"}}, {}, {"s": "s_1"}),
        ({"fixed_from": {"p": "/session/metadata/plan"}}, {}, {"p": "free"}),
        ({"defaults_from": {"x": "/principal/attributes/x"}, "defaults": {"x": 1}}, {}, {"x": 1}),
        ({"defaults_from": {"x": "/principal/attributes/x"}}, {}, {}),
    ],
    ids=str,
)  # fmt: skip
async def test_one_rule(rule: dict[str, Any], args: dict[str, Any], expected: Any) -> None:
    middleware = defaults(rule)
    found = await passed_on(middleware, args, principal=EVE, metadata={"plan": "free"})
    assert repr(found) == repr(expected)


async def test_rules_apply_in_their_order() -> None:
    middleware = defaults(
        {"defaults": {"a": 1}, "fixed": {"b": 1}}, {"defaults": {"a": 2, "b": 2}, "fixed": {"c": 2}}
    )
    assert await passed_on(middleware, {}) == {"a": 1, "b": 1, "c": 2}


@pytest.mark.parametrize("principal", [None, ADA, Principal(id="x", attributes={"other": 1})])
@pytest.mark.parametrize("place", ["/principal/attributes/region", "/session/metadata/region"])
async def test_a_fixed_value_that_is_not_known_is_not_the_agent_s_to_choose(
    principal: Principal | None, place: str
) -> None:
    middleware, below = defaults({"fixed_from": {"region": place}}), Answers("not asked")
    with pytest.raises(AccessDeniedError, match="'region'"):
        await middleware(call(spec(), {"region": "us"}, principal=principal), below)
    assert below.calls == []


async def test_who_has_no_tenant_has_not_null_for_one() -> None:
    middleware = defaults({"fixed_from": {"tenant": "/principal/tenant"}})
    with pytest.raises(AccessDeniedError):
        await middleware(call(spec(), principal=Principal(id="x")), Answers("not asked"))


@pytest.mark.parametrize("place", ["/principal", "/session/principal", "principal/id", "/x/id"])
def test_places_that_do_not_exist_are_told_at_the_start(place: str) -> None:
    with pytest.raises(ValidationError):
        defaults({"fixed_from": {"a": place}})


VALUES = st.none() | st.booleans() | st.integers(0, 2) | st.floats(0, 2) | st.text(max_size=2)
OBJECTS = st.dictionaries(st.sampled_from("abcd"), VALUES)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@given(OBJECTS, OBJECTS, OBJECTS)
async def test_the_agent_has_its_way_between_the_two(
    anyio_backend: str, given: dict[str, Any], below: dict[str, Any], above: dict[str, Any]
) -> None:
    found = await passed_on(defaults({"defaults": below, "fixed": above}), given)
    expected = {**below, **given, **above}
    assert {name: repr(value) for name, value in found.items()} == {
        name: repr(value) for name, value in expected.items()
    }
