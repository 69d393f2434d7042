"""AccessController: which rule decides, what turns it round, and what is wrong with rules."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave_broker_core import (
    AccessController,
    AccessRequest,
    ArgumentsError,
    ConfigError,
    Principal,
    Rule,
    Verdict,
)
from enclave_broker_core.pattern_index import MEMO_SIZE
from enclave_broker_core.patterns import Pattern

ALLOW, DENY, ASK = Verdict.ALLOW, Verdict.DENY, Verdict.ASK


def unless(conditions: dict[str, Any], allow: bool | str = False) -> AccessController:
    return AccessController([{"pattern": "*", "allow": allow, "unless": conditions}])


def test_the_first_rule_that_matches_decides() -> None:
    access = AccessController(
        [
            {"pattern": "a:secret", "allow": False},
            {"pattern": "a:*", "allow": True},
            {"pattern": "a:secret", "allow": True},
            {"pattern": "*", "allow": "ask"},
        ]
    )
    assert access.check("a:secret").verdict is DENY
    assert access.check("a:secret").rule == "rules[0] a:secret"
    assert access.check("a:open").verdict is ALLOW
    assert access.check("a:open").rule == "rules[1] a:*"
    assert access.check("b").verdict is ASK
    assert access.check("b").rule == "rules[3] *"


@pytest.mark.parametrize(("default", "verdict"), [("allow", ALLOW), ("deny", DENY), ("ask", ASK)])
def test_the_default_decides_when_no_rule_matches(default: Any, verdict: Verdict) -> None:
    access = AccessController([{"pattern": "a", "allow": True}], default=default)
    decision = access.check("b")
    assert (decision.verdict, decision.rule) == (verdict, "default")
    assert decision.reason == "no rule matches"


def test_without_any_word_all_is_denied() -> None:
    assert AccessController().check("a").verdict is DENY
    assert AccessController([Rule(pattern="a", allow=True)]).check("A").verdict is DENY


def test_a_decision_is_true_only_when_it_allows() -> None:
    for default, allowed in (("allow", True), ("deny", False), ("ask", False)):
        decision = AccessController(default=default).check("a")
        assert decision.allowed is allowed
        assert bool(decision) is allowed


@pytest.mark.parametrize(
    ("allow", "plain", "turned"), [(True, ALLOW, DENY), (False, DENY, ALLOW), ("ask", ASK, ALLOW)]
)
def test_unless_turns_the_verdict_round(allow: Any, plain: Verdict, turned: Verdict) -> None:
    access = unless({"role": "admin"}, allow)
    assert access.check("x", {"role": "user"}).verdict is plain
    decision = access.check("x", {"role": "admin"})
    assert decision.verdict is turned
    assert decision.rule == "rules[0] *"
    assert decision.reason == "its 'unless' holds"


@pytest.mark.parametrize(
    ("conditions", "caller", "holds"),
    [
        ({"role": "admin"}, {"role": "admin"}, True),
        ({"role": "admin"}, {"roles": ["user", "admin"]}, True),
        ({"role": "admin"}, {"roles": "admin"}, True),
        ({"role": "admin"}, {"role": ["admin", "user"]}, True),
        ({"role": "a"}, {"roles": "admin"}, False),
        ({"role": "admin"}, {"role": None}, False),
        ({"role": "admin"}, {"role": "Admin"}, False),
        ({"role": "admin"}, {}, False),
        ({"role": "admin"}, None, False),
        ({"role": "admin"}, {"id": "admin"}, False),
        ({"id": "ada"}, {"id": "ada"}, True),
        ({"id": "ada"}, {"id": "bob"}, False),
        ({"id": "caller"}, None, False),
        ({"tenant": "acme"}, {"tenant": "acme"}, True),
        ({"tenant": "acme"}, {"tenant": "other"}, False),
        ({"tenant": "acme"}, {}, False),
        ({"owner": True}, {"owner": True}, True),
        ({"owner": True}, {"owner": 1}, False),
        ({"owner": True}, {"owner": 1.0}, False),
        ({"owner": True}, {"owner": "true"}, False),
        ({"owner": True}, {"owner": False}, False),
        ({"owner": True}, {}, False),
        ({"owner": False}, {}, False),
        ({"owner": False}, {"owner": 0}, False),
        ({"owner": None}, {}, False),
        ({"owner": None}, {"owner": None}, True),
        ({"level": 1}, {"level": 1}, True),
        ({"level": 1}, {"level": 1.0}, True),
        ({"level": 1}, {"level": True}, False),
        ({"level": 1}, {"level": "1"}, False),
        ({"teams": ["a", 1]}, {"teams": ["a", 1]}, True),
        ({"teams": ["a", 1]}, {"teams": ["a", True]}, False),
        ({"teams": ["a"]}, {"teams": ["a", "b"]}, False),
        ({"at": {"x": [1]}}, {"at": {"x": [1]}}, True),
        ({"at": {"x": [1]}}, {"at": {"x": [True]}}, False),
        ({"at": {"x": 1}}, {"at": {"x": 1, "y": 2}}, False),
        ({"role": "admin", "owner": True}, {"role": "admin", "owner": True}, True),
        ({"role": "admin", "owner": True}, {"role": "admin"}, False),
        ({"role": "admin", "owner": True}, {"owner": True}, False),
    ],
)
def test_when_unless_holds(
    conditions: dict[str, Any], caller: dict[str, Any] | None, holds: bool
) -> None:
    assert unless(conditions).check("x", caller).allowed is holds


def test_a_caller_may_be_a_principal() -> None:
    ada = Principal(id="ada", tenant="acme", roles=frozenset({"admin"}), attributes={"n": 1})
    assert unless({"role": "admin", "tenant": "acme", "id": "ada", "n": 1}).check("x", ada)
    assert not unless({"role": "admin", "tenant": "acme", "id": "bob"}).check("x", ada)


@pytest.mark.parametrize(
    ("caller", "said"),
    [
        ({"id": ""}, "the caller is wrong: id: "),
        ({"id": 7}, "the caller is wrong: id: "),
        ({"tenant": 7}, "the caller is wrong: tenant: "),
        ({"roles": [7]}, "the caller is wrong: roles"),
        ({"what": object()}, "the caller is wrong: attributes"),
    ],
)
def test_a_caller_that_cannot_be_is_an_error_and_no_decision(
    caller: dict[str, Any], said: str
) -> None:
    with pytest.raises(ArgumentsError, match=said):
        AccessController(default="allow").check("x", caller)


def test_explain_names_every_rule_that_matches() -> None:
    access = AccessController(
        [
            {"pattern": "b:*", "allow": True},
            {"pattern": "a:x", "allow": False, "unless": {"role": "admin"}},
            {"pattern": "a:*", "allow": True},
            {"pattern": "a:x", "allow": "ask"},
        ]
    )
    explained = access.explain("a:x", {"role": "admin"})
    assert explained.decision.verdict is ALLOW
    assert explained.decision.rule == "rules[1] a:x"
    assert explained.matching == ("rules[1] a:x", "rules[2] a:*", "rules[3] a:x")
    nothing = access.explain("c")
    assert (nothing.decision.rule, nothing.matching) == ("default", ())


@pytest.mark.anyio
async def test_decide_is_check_for_a_broker() -> None:
    access = unless({"owner": True})
    ada = Principal(id="ada", attributes={"owner": True})
    for principal in (ada, Principal(id="bob"), None):
        decision = await access.decide(AccessRequest("x", principal, "s_1", {}))
        assert decision == access.check("x", principal)
    assert access.judges_arguments is False


def test_every_wrong_rule_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        AccessController(
            [
                {"pattern": "a", "allow": True},
                {"pattern": "a[", "allow": True},
                {"pattern": "a", "allow": "perhaps"},
                {"pattern": "a", "allow": "no"},
                {"pattern": "a", "allow": 1},
                {"pattern": "a", "allow": True, "unless": {}},
                {"pattern": "a", "allow": True, "unless": {"role": ["a", "b"]}},
                {"pattern": "a", "allow": True, "unless": {"tenant": None}},
                {"patern": "a", "allow": True},
                {"pattern": "a"},
                "a",
            ]
        )
    said = caught.value.problems
    assert [problem.split(":")[0] for problem in said] == [
        "rules[1].pattern",
        "rules[2].allow",
        "rules[3].allow",
        "rules[4].allow",
        "rules[5].unless",
        "rules[6].unless",
        "rules[7].unless",
        "rules[8].pattern",
        "rules[8].patern",
        "rules[9].allow",
        "rules[10]",
    ]
    assert "unfinished '[' set" in said[0]
    assert said[1].endswith('can be true, false or "ask"')
    assert "is empty: it would always hold" in said[4]
    assert "role is one text" in said[5]
    assert all(problem in caught.value.message for problem in said)


def test_an_unknown_default_is_refused() -> None:
    with pytest.raises(ConfigError, match="access default is 'denied'; it can be allow, deny"):
        AccessController(default="denied")  # type: ignore[arg-type]


def test_rules_that_are_changed_afterwards_change_nothing() -> None:
    rules = [{"pattern": "a", "allow": False, "unless": {"level": [1]}}]
    access = AccessController(rules)
    rules[0]["unless"]["level"].append(2)  # type: ignore[index]
    rules.clear()
    assert access.check("a", {"level": [1]})
    assert not access.check("a", {"level": [1, 2]})


def test_what_it_remembers_is_bounded_by_names_and_holds_no_caller() -> None:
    access = unless({"role": "admin"})
    for number in range(2 * MEMO_SIZE):
        role = "admin" if number % 2 else "user"
        assert access.check(f"tool{number % 7}:{number}", {"role": role}).allowed is bool(
            number % 2
        )
        assert len(access._index._memo) <= MEMO_SIZE
    assert access.check("same", {"role": "admin"})
    assert not access.check("same", {"role": "user"})


# Against a model that reads as the definition does

keys = st.sampled_from(["role", "tenant", "id", "owner", "level"])
texts = st.sampled_from(["a", "b"])
others = st.sampled_from([True, False, 0, 1, 2, "a", None, [1], [True]])
patterns = st.sampled_from(["*", "a", "b", "a:*", "*:x", "a:x", "{a,b}:x", "?", "[!a]*"])
conditions = st.dictionaries(keys, st.just(None), min_size=1, max_size=3).flatmap(
    lambda chosen: st.fixed_dictionaries(
        {key: texts if key in ("role", "tenant", "id") else others for key in chosen}
    )
)
rules = st.fixed_dictionaries(
    {"pattern": patterns, "allow": st.sampled_from([True, False, "ask"])},
    optional={"unless": conditions},
)
callers = st.none() | st.builds(
    Principal,
    id=texts,
    tenant=st.none() | texts,
    roles=st.frozensets(texts),
    attributes=st.dictionaries(st.sampled_from(["owner", "level", "role"]), others),
)


def holds(conditions: dict[str, Any], caller: Principal | None) -> bool:
    if caller is None:
        return False
    own = {"tenant": caller.tenant, "id": caller.id}
    for key, value in conditions.items():
        if key == "role":
            held = value in caller.roles
        elif key in own:
            held = own[key] == value
        else:
            held = key in caller.attributes
            # As texts true and 1 differ.
            held = held and json.dumps(caller.attributes[key]) == json.dumps(value)
        if not held:
            return False
    return True


def model(
    rules: list[dict[str, Any]], default: str, name: str, caller: Principal | None
) -> tuple[str, str]:
    for number, rule in enumerate(rules):
        if Pattern(rule["pattern"]).matches(name):
            said = {True: "allow", False: "deny", "ask": "ask"}[rule["allow"]]
            if "unless" in rule and holds(rule["unless"], caller):
                said = "deny" if said == "allow" else "allow"
            return said, f"rules[{number}] {rule['pattern']}"
    return default, "default"


@settings(max_examples=150, deadline=None)
@given(
    rules=st.lists(rules, max_size=6),
    default=st.sampled_from(["allow", "deny", "ask"]),
    asked=st.lists(st.tuples(st.sampled_from(["a", "b", "c", "a:x", "b:x", "a:y"]), callers)),
)
def test_it_decides_as_the_model_does(
    rules: list[dict[str, Any]], default: Any, asked: list[tuple[str, Principal | None]]
) -> None:
    access = AccessController(rules, default=default)
    for name, caller in asked:
        decision = access.check(name, caller)
        assert (decision.verdict.value, decision.rule) == model(rules, default, name, caller)
        explained = access.explain(name, caller)
        assert explained.decision == decision
        assert list(explained.matching) == [
            f"rules[{number}] {rule['pattern']}"
            for number, rule in enumerate(rules)
            if Pattern(rule["pattern"]).matches(name)
        ]
