"""Every command of the program loads this plugin, also those that speak to no server."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
import enclave_broker_mcp as plugin

plugin.enclave_tool_providers()
plugin.enclave_commands()
print(sorted({"mcp", "mcp_types", "httpcore", "httpx2", "starlette", "trio"} & sys.modules.keys()))
"""


def test_what_speaks_the_protocol_is_not_imported() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
