"""Programs from npm, fetched once for all test runs of a user."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest


def npm_packages(*packages: str) -> Path:
    """The folder ``node_modules`` with packages of fixed versions, such as ``it@1.2.3``.

    Skips the test, and says why, without Node or when they can't be fetched.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("Node and npm are not there: install Node 20 or newer")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = hashlib.sha256(" ".join(sorted(packages)).encode()).hexdigest()[:12]
    folder = cache / "enclave-broker-tests" / f"npm-{key}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            _install(npm, made, packages)
            made.rename(folder)
        except OSError:
            if not folder.exists():  # else another test was faster
                raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return folder / "node_modules"


def _install(npm: str, folder: Path, packages: tuple[str, ...]) -> None:
    options = ("--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder))
    try:
        done = subprocess.run(
            [npm, "install", *options, *packages], capture_output=True, text=True, timeout=180
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not fetch {', '.join(packages)} in time")
    if done.returncode != 0:
        pytest.skip(f"npm could not fetch {', '.join(packages)}: {done.stderr[-500:]}")
