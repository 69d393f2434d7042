"""Every command of the program loads this plugin, also those that serve nothing."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
import enclave_broker_server as plugin

plugin.enclave_authenticators()
plugin.enclave_commands()
heavy = {"cryptography", "httpx", "joserfc", "orjson", "re2", "starlette", "uvicorn"}
print(sorted(heavy & sys.modules.keys()))
"""


def test_what_serves_and_what_reads_tokens_is_not_imported() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
