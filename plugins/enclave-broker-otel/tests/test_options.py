"""What the configuration and the standard variables choose."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from collector import Collector
from enclave_broker_otel.opening import open_otel
from enclave_broker_otel.where import log_records_are_placed, placed

from enclave_broker_core import Broker, BrokerError, ConfigError, Principal, Session, use
from enclave_broker_core.composition import Parts
from enclave_broker_core.logs import JsonFormatter

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def session(**options: Any) -> AsyncIterator[Session]:
    broker = Broker(sinks=[use("otel", **options)])

    @broker.tool("echo")
    async def echo(value: str) -> dict[str, str]:
        logging.getLogger("mine").warning("echoing")
        return {"value": value}

    async with broker, broker.session(principal=Principal(id="ann")) as made:
        broker.conceal("a-long-secret")
        yield made


async def test_without_an_exporter_nothing_of_it_is_in_the_chain() -> None:
    async with Broker(sinks=[use("otel")]) as broker:
        assert broker.tracer is None
        assert not broker._opened.sinks.active
        async with Broker() as plain:
            chains = [one._opened.chain.__qualname__ for one in (broker, plain)]
            assert chains[0] == chains[1]


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "{url}/v1/traces"},
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "{url}"},
    ],
)
async def test_the_variables_alone_are_enough(
    variables: dict[str, str], got: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(url=got.url))
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=one")
    async with session() as made:
        await made.call("echo", {"value": "x"})
    assert got.tree() == [["session", ["execute_tool echo"]]]
    assert got.resources[0]["service.name"] == "mine"
    assert got.resources[0]["deployment.environment"] == "test"
    assert got.headers[0]["x-key"] == "one"


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"},
    ],
)
async def test_the_variables_can_keep_it_off(
    variables: dict[str, str], got: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", got.url)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    async with Broker(sinks=[use("otel")]) as broker:
        assert broker.tracer is None


async def test_an_exporter_that_there_is_none_of_is_a_mistake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    with pytest.raises(ConfigError, match="OTEL_TRACES_EXPORTER names 'zipkin'; there is otlp"):
        async with Broker(sinks=[use("otel")]):
            pass


async def test_the_configuration_goes_over_the_variables(
    got: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "theirs")
    options: dict[str, Any] = {"service": "mine", "resource": {"a": "b"}, "headers": {"x-key": "k"}}
    async with session(endpoint=got.url, traces="otlp", metrics=["none"], **options) as made:
        await made.call("echo", {"value": "x"})
    assert got.named("session")
    assert (got.resources[0]["service.name"], got.resources[0]["a"]) == ("mine", "b")
    assert got.headers[0]["x-key"] == "k"


@pytest.mark.parametrize("how", ["configured", "by variables"])
async def test_what_is_not_sampled_is_not_exported_and_still_counted(
    how: str, got: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"endpoint": got.url, "traces": "otlp", "metrics": ["otlp"]}
    if how == "configured":
        options["sample"] = 0
    else:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    async with session(**options) as made:
        await made.call("echo", {"value": "x"})
    assert got.spans == []
    assert got.value("enclave.tool.calls", gen_ai__tool__name="echo", enclave__outcome="ok") == 1


async def test_arguments_and_results_are_shown_only_when_asked_for(got: Collector) -> None:
    async with session(endpoint=got.url, traces="otlp", metrics=["none"]) as made:
        await made.call("echo", {"value": "plain"})
    assert "plain" not in str(got.spans)
    options = {"arguments": True, "results": True, "max_content_bytes": 30}
    async with session(endpoint=got.url, traces="otlp", metrics=["none"], **options) as made:
        await made.call("echo", {"value": "a-long-secret"})
        await made.call("echo", {"value": "é" * 40})
        with pytest.raises(BrokerError):
            await made.call("a-long-secret", {"value": "a-long-secret"})
    _, secret, long = got.named("execute_tool echo")
    arguments, result = "gen_ai.tool.call.arguments", "gen_ai.tool.call.result"
    assert secret.attributes[arguments] == '{"value":"[secret]"}'
    assert secret.attributes[result] == '{"value":"[secret]"}'
    assert long.attributes[arguments] == '{"value":"' + "é" * 10 + "…"
    assert "a-long-secret" not in str(got.spans)


async def test_tools_over_the_bound_share_a_series(got: Collector) -> None:
    options: dict[str, Any] = {"traces": "none", "metrics": ["otlp"], "max_values": 2}
    broker = Broker(sinks=[use("otel", endpoint=got.url, **options)])
    for name in ("a", "b", "c", "d"):
        broker.tool(name)(lambda: None)
    async with broker, broker.session() as made:
        for name in ("a", "b", "c", "d", "a"):
            await made.call(name)
        for number in range(20):
            with pytest.raises(BrokerError):
                await made.call(f"made-up-{number}")
    counted = {point["gen_ai.tool.name"]: n for point, n in got.points["enclave.tool.calls"]}
    assert counted == {"a": 2, "b": 1, "_other": 2, "_unknown": 20}


async def test_a_collector_that_is_not_there_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    async with session(endpoint="http://127.0.0.1:9", traces="otlp", metrics=["none"]) as made:
        assert await made.call("echo", {"value": "x"}) == {"value": "x"}


async def test_a_log_record_says_where_it_was_made(
    got: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    async with session(endpoint=got.url, traces="otlp", metrics=["none"]) as made:
        await made.call("echo", {"value": "x"})
        logging.getLogger("mine").warning("outside")
        call_id = (await made.history())[0].call_id
        session_id = made.id
    (call,) = got.named("execute_tool echo")
    inside, outside = [record for record in caplog.records if record.name == "mine"]
    line = json.loads(JsonFormatter().format(inside))
    known = {key: line[key] for key in ("session", "call", "trace", "principal")}
    assert known == {
        "session": session_id,
        "call": call_id,
        "trace": call.trace,
        "principal": "ann",
    }
    assert "call" not in json.loads(JsonFormatter().format(outside))
    assert placed() == {}


async def test_records_are_as_they_were_when_all_have_gone() -> None:
    before = logging.getLogRecordFactory()
    first, second, third = (log_records_are_placed() for _ in range(3))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    third.__enter__()
    second.__exit__(None, None, None)
    assert logging.getLogRecordFactory() is not before
    third.__exit__(None, None, None)
    assert logging.getLogRecordFactory() is before


async def test_a_session_goes_on_under_the_tracer_of_the_next_configuration(got: Collector) -> None:
    options: dict[str, Any] = {"endpoint": got.url, "traces": "otlp", "metrics": ["none"]}
    broker = Broker(sinks=[use("otel", **options)])
    broker.tool("t")(lambda: None)

    async def again(stack: AsyncExitStack) -> Parts:
        return Parts(sinks=[use("otel", **options)])

    async with broker, broker.session() as made:
        await made.call("t")
        await broker.reload(again)
        await made.call("t")
    assert got.tree() == [["session", ["execute_tool t"]]] * 2
    instances = {resource["service.instance.id"] for resource in got.resources}
    assert len(instances) == 2


def test_it_is_a_component_of_the_broker() -> None:
    from enclave_broker_core.parts import installed

    assert installed("sink", "otel").open is open_otel
