"""What a configuration may say, and what it reaches."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from enclave_broker_opa.config import OpaConfig


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({}, "required"),
        ({"url": "v1/data/broker"}, "absolute"),
        ({"url": "ftp://opa.example/v1/data"}, "absolute"),
        ({"url": "https://ann:hunter22@opa.example/"}, "token"),
        ({"url": "https://opa.example/v1/data#x"}, "fragment"),
        ({"url": "http://opa.example/v1/data"}, "in the clear"),
        # A name may be anybody's, this one too.
        ({"url": "http://localhost:8181/v1/data"}, "in the clear"),
        ({"url": "https://opa.example/", "token": "a\r\nx-admin: 1"}, "bearer"),
        ({"url": "https://opa.example/", "token": ""}, "bearer"),
        ({"url": "https://opa.example/", "timeout": 0}, "greater"),
        ({"url": "https://opa.example/", "cache": {}}, "seconds"),
        ({"url": "https://opa.example/", "cache": {"seconds": 0}}, "greater"),
        ({"url": "https://opa.example/", "network": {"max_redirects": 3}}, "max_redirects can't"),
        ({"url": "https://opa.example/", "uri": "/"}, "uri"),
    ],
)
def test_a_wrong_configuration_is_refused(table: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem) as refused:
        OpaConfig.model_validate(table)
    told = [error["msg"] for error in refused.value.errors()]
    assert "hunter22" not in str(told)
    assert "x-admin" not in str(told)


@pytest.mark.parametrize(
    ("table", "schemes", "private"),
    [
        ({"url": "https://opa.example/"}, {"https"}, ()),
        ({"url": "http://127.0.0.1:8181/"}, {"http", "https"}, ("loopback",)),
        ({"url": "http://[::1]:8181/"}, {"http", "https"}, ("loopback",)),
        ({"url": "http://opa/", "network": {"schemes": ["http"]}}, {"http"}, ()),
    ],
)
def test_what_is_reached(
    table: dict[str, object], schemes: set[str], private: tuple[str, ...]
) -> None:
    rules = OpaConfig.model_validate({**table, "timeout": 3, "max_bytes": 100}).rules
    assert rules.schemes == schemes
    assert (rules.allow_private, rules.hosts) == (private, ())
    assert (rules.max_redirects, rules.max_bytes) == (0, 100)
    assert set(rules.timeouts.model_dump().values()) == {3.0}


def test_no_repr_has_the_token() -> None:
    config = OpaConfig.model_validate({"url": "https://opa.example/", "token": "opa-7d1f0c55e2"})
    assert "7d1f" not in repr(config)
