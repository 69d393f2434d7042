"""The configuration of the tool provider ``http``."""

from __future__ import annotations

from typing import Annotated

from enclave_broker_network import NetworkRules
from pydantic import Field, model_validator

from enclave_broker_core.errors import BrokerError

from .requests import RequestConfig, SourceConfig
from .shape import RequestShape


class HttpConfig(SourceConfig):
    """A source of HTTP tools.

    ``requests`` are the tools. ``base_url``, ``headers``, ``query``, ``auth`` and ``retries``
    hold for all of them; ``network`` is what they may reach besides the hosts of their URLs,
    and how much may come back.
    """

    requests: Annotated[tuple[RequestConfig, ...], Field(min_length=1)]
    network: NetworkRules = NetworkRules()
    progress: bool = True

    @model_validator(mode="after")
    def _shapes(self) -> HttpConfig:
        seen = set()
        for place, request in enumerate(self.requests):
            try:
                RequestShape(self, request)
            except (ValueError, BrokerError) as problem:
                raise ValueError(f"requests.{place} ({request.name}): {problem}") from None
            if request.name in seen:
                raise ValueError(f"requests.{place}: the name {request.name} is there twice")
            seen.add(request.name)
            total = self.network.timeouts.total
            if request.timeout is not None and request.timeout > total:
                raise ValueError(
                    f"requests.{place} ({request.name}): its timeout is longer than"
                    f" network.timeouts.total, which is {total:g} s"
                )
        return self
