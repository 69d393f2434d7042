"""The configuration of the tool provider ``http``."""

from __future__ import annotations

from typing import Annotated

from enclave_broker_network.rules import NetworkRules
from pydantic import AfterValidator, ValidationInfo, model_validator

from enclave_broker_core.errors import BrokerError

from .requests import RequestConfig, SourceConfig
from .shape import RequestShape


def _shaped(request: RequestConfig, info: ValidationInfo) -> RequestConfig:
    """Judges a request with what its source has, so that a mistake has the request's place."""
    common = {name: info.data[name] for name in SourceConfig.model_fields if name in info.data}
    if common.keys() == SourceConfig.model_fields.keys():  # else there are mistakes enough
        try:
            RequestShape(SourceConfig.model_construct(**common), request)
        except BrokerError as problem:
            raise ValueError(problem.message) from None
    return request


class HttpConfig(SourceConfig):
    """A source of HTTP tools."""

    requests: tuple[Annotated[RequestConfig, AfterValidator(_shaped)], ...]
    """The tools."""
    network: NetworkRules = NetworkRules()
    """What they may reach besides the hosts of their URLs, and how much may come back."""
    progress: bool = True
    """Whether calls tell how far they are."""

    @model_validator(mode="after")
    def _together(self) -> HttpConfig:
        if not self.requests:
            raise ValueError("there are no requests")
        seen = set()
        total = self.network.timeouts.total
        for request in self.requests:
            if request.name in seen:
                raise ValueError(f"two requests have the name {request.name}")
            seen.add(request.name)
            if request.timeout is not None and request.timeout > total:
                raise ValueError(
                    f"the timeout of {request.name} is longer than network.timeouts.total,"
                    f" which is {total:g} s"
                )
        return self
