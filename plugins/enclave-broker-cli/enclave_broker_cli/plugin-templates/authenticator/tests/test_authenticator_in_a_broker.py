"""The authenticator as a server gets it: by its entry point, from a configuration."""

from __future__ import annotations

import hashlib

import pytest
from enclave_broker_core.contracts import Credentials
from enclave_broker_core.errors import AccessDeniedError
from enclave_broker_core.testing.harness import open_harness

CONFIG = """
plugins = ["memory", "example-authenticator"]

[[authenticators]]
use = "example-authenticator"
tokens = [{ sha256 = "%s", id = "ada" }]
"""


@pytest.mark.anyio
async def test_a_server_gets_it() -> None:
    digest = hashlib.sha256(b"ada-5b77c0d8e1").hexdigest()
    async with open_harness(CONFIG % digest) as harness:
        (authenticator,) = harness.setup.authenticators
        good = Credentials({"authorization": "Bearer ada-5b77c0d8e1"})
        found = await authenticator.authenticate(good)
        with pytest.raises(AccessDeniedError):
            await authenticator.authenticate(Credentials({"authorization": "Bearer eve"}))
    assert found is not None
    assert found.id == "ada"
