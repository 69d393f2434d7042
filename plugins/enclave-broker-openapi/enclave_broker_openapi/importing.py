"""Looks at a document as a source would, and tells what would become of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from enclave_broker_network.outbound import open_outbound
from enclave_broker_network.urls import parse_url

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import BrokerError
from enclave_broker_core.registry import external_names

from .authorising import Authoriser
from .catalog import Outcome, make_catalog
from .config import OpenapiConfig
from .fetching import Fetcher
from .loading import Source, root_uri, written_origins
from .opening import judge

# What a person names on a command line may be in the house, but not what tells a machine who
# it is.
_IN_THE_HOUSE = ("loopback", "private")


@dataclass(frozen=True)
class Preview:
    """What would become of a document. ``servers`` are those that its requests would go to,
    each with what keeps them from being reached, if anything does.
    """

    config: OpenapiConfig
    outcome: Outcome
    servers: Mapping[str, str | None]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def tools(self) -> list[dict[str, Any]]:
        """Each tool as JSON."""
        names = [made.spec.name for made in self.outcome.made]
        outer = {own: name for name, own in external_names(names).items()}
        return [
            {
                "name": made.spec.name,
                "external_name": outer[made.spec.name],
                "operation": made.key,
                "operation_id": made.operation_id,
                "description": made.spec.description,
                "arguments": list(made.spec.input_schema["properties"]),
                "required": made.spec.input_schema.get("required", []),
                "read_only": made.spec.read_only,
                "idempotent": made.spec.idempotent,
                "deprecated": made.spec.deprecated,
                "tags": sorted(made.spec.tags),
                "server": made.plan.server,
            }
            for made in self.outcome.made
        ]

    @property
    def warnings(self) -> list[str]:
        """One line for each, what many operations have in common once."""
        alike = Counter(note.said for note in self.outcome.notes)
        first = {note.said: note.key for note in reversed(self.outcome.notes)}
        lines = [f"{url} can't be read: {why}" for url, why in self.left_out.items()]
        lines += [f"{url}: {why}" for url, why in self.servers.items() if why is not None]
        for said, times in alike.items():
            more = f" and {times - 1} more" if times > 1 else ""
            lines.append(f"{first[said]}{more}: {said}")
        return lines

    def as_json(self) -> dict[str, Any]:
        return {
            "title": self.outcome.title,
            "version": self.outcome.version,
            "tools": self.tools,
            "broken": [{"operation": one.key, "reason": one.reason} for one in self.outcome.broken],
            "left_out": list(self.outcome.left_out),
            "warnings": self.warnings,
            "servers": [{"url": url, "refused": refused} for url, refused in self.servers.items()],
            "config": "\n".join(self.toml()),
        }

    def toml(self) -> list[str]:
        """The table for the configuration."""
        config = self.config
        lines = ["[[tools]]", 'use = "openapi"', f"name = {_text(config.name)}"]
        lines += [f"spec = {_text(str(config.spec))}"]
        for key in ("include", "exclude"):
            chosen: Sequence[Any] = getattr(config, key)
            if chosen:
                lines.append(f"{key} = [{', '.join(_text(str(one)) for one in chosen)}]")
        if config.server is not None:
            lines.append(f"server = {_text(config.server)}")
        network = self._network()
        return [*lines, f"network = {{ {', '.join(network)} }}"] if network else lines

    def _network(self) -> list[str]:
        """What the network rules have to say for this to work."""
        config = self.config
        urls = [str(config.spec)] if config.kind == "url" else []
        parts = [urlsplit(url) for url in [*urls, *self.servers]]
        lines = []
        if any(one.scheme == "http" for one in parts):
            lines.append('schemes = ["http", "https"]')
        private = _private(urlsplit(str(config.spec)).hostname) if config.kind == "url" else None
        if private is not None:
            lines.append(f"allow_private = [{_text(private)}]")
        hosts = sorted({urlsplit(url).hostname or "" for url, why in self.servers.items() if why})
        if hosts:
            lines.append(f"hosts = [{', '.join(map(_text, hosts))}]")
        return lines


def _private(host: str | None) -> str | None:
    """The word for the network that an address in the house is in; None for any other host."""
    try:
        address = ip_address("127.0.0.1" if host == "localhost" else host or "")
    except ValueError:
        return None
    if address.is_loopback:
        return "loopback"
    return "private" if address.is_private else None


def _text(text: str) -> str:
    """JSON writes texts as TOML does, but for one control character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


async def look(config: OpenapiConfig, base_dir: str = ".") -> Preview:
    """Fetch and read a document, and make its tools. BrokerErrors when that can't be done."""
    context = OpenContext(config.name, base_dir)
    origins = written_origins(config)
    rules = config.network.model_copy(
        update={"max_bytes": config.max_bytes, "allow_private": _IN_THE_HOUSE}
    )
    if config.kind == "url":
        rules = rules.model_copy(update={"schemes": frozenset({"https", _scheme(config)})})
    async with open_outbound(rules, origins=origins) as outbound:
        fetcher = Fetcher(outbound, root_uri(config, base_dir), config.max_bytes)
        source = Source(config, fetcher, Authoriser(outbound), context.secret)
        loaded = await source.load()
    outcome = make_catalog(loaded.document, config, lambda url: None)
    servers = sorted({made.plan.server for made in outcome.made})
    schemes = frozenset({"http", "https"})
    refused = judge(
        config.model_copy(
            update={"network": config.network.model_copy(update={"schemes": schemes})}
        ),
        origins if config.kind == "url" else [*origins, *filter(_is_url, servers)],
    )
    return Preview(config, outcome, {url: refused(url) for url in servers}, loaded.left_out)


def _scheme(config: OpenapiConfig) -> str:
    return str(config.spec).partition(":")[0].lower()


def _is_url(text: str) -> bool:
    try:
        parse_url(text)
    except BrokerError:
        return False
    return True
