"""Every command of the program loads this plugin, also those that send no requests."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
import enclave_broker_http as plugin

plugin.enclave_tool_providers()
print(sorted({"certifi", "h11", "httpcore", "httpx", "trio"} & sys.modules.keys()))
"""


def test_what_sends_requests_is_not_imported() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
