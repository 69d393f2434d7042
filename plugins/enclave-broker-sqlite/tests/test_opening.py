"""What a file must be like to be opened, and what is said of one that is not."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from enclave_broker_sqlite import enclave_limiters, enclave_session_stores
from enclave_broker_sqlite.config import FileConfig, SqliteConfig
from enclave_broker_sqlite.file import open_file
from enclave_broker_sqlite.limiter import open_limiter
from enclave_broker_sqlite.schema import MIGRATIONS, migrate, version_of
from enclave_broker_sqlite.store import SqliteStore, open_store
from pydantic import ValidationError
from sqlite_files import Configure, another_process, content_of, mode_of, permit, size_of

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import ConfigError, StoreError
from enclave_broker_core.models import Claim, SessionState, Window
from enclave_broker_core.store_abilities import Saved
from enclave_broker_core.testing.samples import record

pytestmark = pytest.mark.anyio

NOBODY = 65534
VERSION_1 = Path(__file__).with_name("version_1.sql")


async def refusal(config: FileConfig) -> str:
    """What is said when the file is opened; it names the file."""
    with pytest.raises(ConfigError) as refused:
        async with open_file(config):
            pass
    assert config.path in refused.value.message
    return refused.value.message


async def test_a_file_is_opened_by_one_at_a_time(configure: Configure) -> None:
    config = configure()
    async with open_file(config):
        assert "in use by another broker: stop that one" in await refusal(config)
    async with open_file(config) as file:
        await file.check()


async def test_a_start_waits_for_the_one_before_it(configure: Configure) -> None:
    entered: list[str] = []

    async def second() -> None:
        async with open_file(configure().model_copy(update={"wait": 60.0})):
            entered.append("second")

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks, open_file(configure()):
            tasks.start_soon(second)
            await anyio.wait_all_tasks_blocked()
            assert entered == []
    assert entered == ["second"]


async def test_the_lock_of_a_process_that_was_killed_is_gone_with_it(configure: Configure) -> None:
    config = configure()
    with another_process(config.path) as process:
        assert "in use by another broker" in await refusal(config)
        process.kill()
        process.wait()
        async with open_file(config) as file:
            await file.check()


async def test_nobody_else_may_look_into_the_files(configure: Configure) -> None:
    config = configure()
    async with open_file(config):
        for suffix in ("", "-wal", "-shm", ".lock"):
            assert mode_of(config.path + suffix) & 0o077 == 0, suffix


def directory(path: Path) -> None:
    path.mkdir()


def text(path: Path) -> None:
    path.write_text("not a database, but long enough to be one\n" * 100)


def another_programs(path: Path) -> None:
    sql = sqlite3.connect(path)
    sql.execute("CREATE TABLE sessions (id)")
    sql.close()


def newer(path: Path) -> None:
    sql = sqlite3.connect(path, isolation_level=None)
    migrate(sql, [*MIGRATIONS, "CREATE TABLE more (id);"])
    sql.close()


def damaged(path: Path) -> None:
    sql = sqlite3.connect(path, isolation_level=None)
    migrate(sql)
    sql.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + bytes([0xA5]) * (len(whole) - 100))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (directory, "it is a directory: name a file in it"),
        (text, "no SQLite database: give the broker a file of its own"),
        (another_programs, "of another program: give the broker a file of its own"),
        (newer, "its tables are version 2, and this knows 1): use that one"),
        (damaged, "it is damaged: stop the broker, and restore the file or move it away"),
    ],
    ids=lambda given: given.__name__ if callable(given) else "",
)
async def test_what_is_no_file_of_ours_is_refused_and_left_as_it_is(
    configure: Configure, make: Callable[[Path], None], said: str
) -> None:
    config = configure()
    make(Path(config.path))
    before = content_of(config.path)
    assert said in await refusal(config)
    assert content_of(config.path) == before


async def test_a_directory_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    config = FileConfig(path=str(tmp_path / "none" / "broker.db"))
    assert "needs a directory" in await refusal(config)


async def test_what_may_not_be_written_is_refused() -> None:
    before = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:
        config = FileConfig(path=f"{folder}/broker.db")
        async with open_file(config):
            pass
        for path, mode in ((config.path, 0o444), (f"{config.path}.lock", 0o444), (folder, 0o555)):
            permit(path, mode)
        # To root nothing is forbidden.
        os.seteuid(before or NOBODY)
        try:
            assert "Permission denied" in await refusal(config)
        finally:
            os.seteuid(before)
            permit(folder, 0o755)


async def test_a_path_is_relative_to_the_configuration(tmp_path: Path) -> None:
    context = OpenContext("store", base_dir=str(tmp_path))
    async with open_store(SqliteConfig(path="broker.db"), context) as store:
        await store.check()
    assert size_of(f"{tmp_path}/broker.db") > 0
    async with open_limiter(FileConfig(path="broker.db"), context) as limiter:
        await limiter.check()


async def test_what_is_asked_of_a_closed_file_is_refused(configure: Configure) -> None:
    async with open_file(configure()) as file:
        store = SqliteStore(file)
    with pytest.raises(StoreError, match="is closed"):
        await store.create(record())


async def test_a_file_of_version_1_is_opened_with_all_that_it_has(configure: Configure) -> None:
    config = configure()
    sql = sqlite3.connect(config.path)
    sql.executescript(VERSION_1.read_text())
    sql.close()
    async with open_file(config, wall=lambda: 4_000_000_010.0, timer=lambda: 0.0) as file:
        store = SqliteStore(file)
        old, done = await store.list(include_ended=True)
        assert (old.id, old.principal_id, old.durable) == ("s_old", "ada", True)
        assert (old.last_seq, old.tool_calls) == (3, 2)
        assert (done.id, done.state, done.ended_at) == (
            "s_done",
            SessionState.COMPLETED,
            1764000009.5,
        )
        assert [one.payload["chunk"] for one in await store.read("s_old")] == [
            "one",
            "two",
            "three",
        ]
        first, second = await store.history("s_old")
        assert (first.call_id, first.arguments, first.rule) == ("c_1", {"id": 1}, "users:*")
        assert (second.call_id, second.error_code) == ("c_2", "TOOL_ERROR")
        assert await store.saved("s_old") == Saved(b"state", {"c_2": b"two"})
        window = Window("global", "global", 3, 1_000_000.0)
        assert list(await store.limiter.remaining([window])) == [1]
        assert list(await store.list(after="s_gone")) == []
        await store.create(record("s_new"))
        assert [one.id for one in await store.list(after="s_gone")] == ["s_new"]
    # By today's clock the time of this claim is not over.
    async with open_file(config, wall=lambda: 1_764_000_000.0) as file:
        file.ledger.claims._now = lambda: 1_764_000_000.0
        found = await SqliteStore(file).claim("s_old", "key", "print", seconds=1.0)
        assert found == Claim("settled", b"answer")


def test_each_version_is_a_step_from_the_one_before(tmp_path: Path) -> None:
    sql = sqlite3.connect(tmp_path / "broker.db", isolation_level=None)
    sql.executescript(VERSION_1.read_text())
    second = "ALTER TABLE sessions ADD COLUMN note TEXT;\nUPDATE sessions SET note = id;"
    broken = "CREATE TABLE half (id);\nINSERT INTO nowhere VALUES (1);"
    with pytest.raises(sqlite3.OperationalError):
        migrate(sql, [*MIGRATIONS, second, broken])
    # All steps or none.
    assert version_of(sql) == 1
    assert sql.execute("SELECT 1 FROM sqlite_schema WHERE name = 'half'").fetchone() is None
    migrate(sql, [*MIGRATIONS, second])
    migrate(sql, [*MIGRATIONS, second])
    assert version_of(sql) == 2
    notes = sql.execute("SELECT note FROM sessions ORDER BY number").fetchall()
    assert notes == [("s_old",), ("s_done",)]
    versions = sql.execute("SELECT version FROM migrations ORDER BY version").fetchall()
    assert versions == [(1,), (2,)]
    sql.close()


def test_the_first_version_makes_the_tables_of_the_file_that_is_kept() -> None:
    made, kept = sqlite3.connect(":memory:", isolation_level=None), sqlite3.connect(":memory:")
    migrate(made, MIGRATIONS[:1])
    kept.executescript(VERSION_1.read_text())

    def tables(sql: sqlite3.Connection) -> dict[str, list[Any]]:
        names = sql.execute("SELECT name FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
        return {
            name: sql.execute(f"SELECT * FROM pragma_table_xinfo('{name}')").fetchall()
            or sql.execute(f"SELECT * FROM pragma_index_xinfo('{name}')").fetchall()
            for (name,) in names.fetchall()
        }

    assert tables(made) == tables(kept)
    made.close()
    kept.close()


def test_the_parts_are_named_and_run_on_both_loops() -> None:
    for parts in (enclave_session_stores(), enclave_limiters()):
        [part] = parts
        assert (part.name, part.loops) == ("sqlite", {"asyncio", "trio"})


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"path": ""},
        {"path": "a", "synchronous": "off"},
        {"path": "a", "max_bytes": 1000},
        {"path": "a", "wait": -1},
        {"path": "a", "max_events": 0},
        {"path": "a", "grace": -1},
        {"path": "a", "max_event": 1},
    ],
)
def test_a_wrong_configuration_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SqliteConfig(**wrong)
