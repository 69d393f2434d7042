"""Whose file is taken, and what in it is a secret."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from enclave_broker_secrets import toml_file
from enclave_broker_secrets.config import TomlConfig
from enclave_broker_secrets.toml_file import TomlFile, open_toml

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import ConfigError, SecretError

pytestmark = pytest.mark.anyio

TEXT = """
"dotted.name" = "in-quotes"
empty = ""

[database]
password = "pass-5b77c0"
port = 5432
since = 2026-01-01
hosts = ["a-host-name"]

[database.replica]
password = "pass-93f1a2"

[[users]]
password = "in-an-array"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "secrets.toml", TEXT)


def written(path: Path, text: str) -> Path:
    fresh = path.with_name("fresh")
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    return fresh.replace(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database.password", "pass-5b77c0"),
        ("database.replica.password", "pass-93f1a2"),
        ("dotted.name", "in-quotes"),
        ("empty", ""),
        ("database", None),
        ("database.replica", None),
        ("password", None),
        ("dotted", None),
        ("database.password.", None),
        ("users.password", None),
        ("users.0.password", None),
        ("__class__", None),
    ],
)
async def test_names(file: Path, name: str, value: str | None) -> None:
    assert await TomlFile(str(file)).get(name) == value


@pytest.mark.parametrize("name", ["database.port", "database.since", "database.hosts", "users"])
async def test_only_texts_are_secrets(file: Path, name: str) -> None:
    with pytest.raises(SecretError, match=f"{name!r} is no text; texts stand in quotes") as caught:
        await TomlFile(str(file)).get(name)
    assert "5432" not in str(caught.value)
    assert "host-name" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666])
async def test_a_file_that_others_may_use_is_refused(file: Path, mode: int) -> None:
    source = TomlFile(str(file), clock=lambda: file.stat().st_ctime + 60)
    assert await source.get("database.password") == "pass-5b77c0"
    os.chmod(file, mode)
    with pytest.raises(SecretError, match=rf"its mode is {mode:04o}, and 0600 would do") as caught:
        await source.get("database.password")
    assert "pass" not in str(caught.value)
    os.chmod(file, 0o400)
    assert await source.get("database.password") == "pass-5b77c0"


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
async def test_a_folder_that_others_may_write_to_is_refused(file: Path, mode: int) -> None:
    file.parent.chmod(mode)
    with pytest.raises(SecretError, match=rf"written to by others: its mode is {mode:04o}"):
        await TomlFile(str(file)).get("database.password")
    file.parent.chmod(0o755)
    assert await TomlFile(str(file)).get("database.password") == "pass-5b77c0"


async def test_the_folder_of_a_link_is_judged_too(file: Path) -> None:
    shared = file.parent / "shared"
    shared.mkdir()
    (shared / "link.toml").symlink_to(file)
    assert await TomlFile(str(shared / "link.toml")).get("database.password") == "pass-5b77c0"
    shared.chmod(0o777)
    with pytest.raises(SecretError, match="/shared may be written to by others"):
        await TomlFile(str(shared / "link.toml")).get("database.password")


@pytest.mark.skipif(os.geteuid() != 0, reason="run as root: only root can give a file away")
async def test_the_file_and_its_folder_belong_to_this_user(file: Path) -> None:
    os.chown(file, 4321, -1)
    with pytest.raises(SecretError, match=r"secrets\.toml belongs to another user"):
        await TomlFile(str(file)).get("database.password")
    os.chown(file, 0, -1)
    os.chown(file.parent, 4321, -1)
    with pytest.raises(SecretError, match="belongs to another user"):
        await TomlFile(str(file)).get("database.password")
    os.chown(file.parent, 0, -1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('a = "the-secret" the-secret', r"is no TOML: line 1, column 18$"),
        ('a = "the-secret', r"is no TOML: end of document$"),
        (f"a = {'1' * 5000}", r"is no TOML: a number is too long$"),
        (f"a = {'[' * 5000}", r"is no TOML: "),
        ('a.b = "the-secret"\n"a.b" = "the-secret"', r"has 'a\.b' twice"),
    ],
)
async def test_what_is_no_toml_is_in_no_part_of_the_error(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(SecretError, match=said) as caught:
        await TomlFile(str(written(tmp_path / "secrets.toml", text))).get("a")
    assert "the-secret" not in str(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


async def test_bounds_and_kinds(tmp_path: Path) -> None:
    file = written(tmp_path / "secrets.toml", 'a = "b"')
    assert await TomlFile(str(file), 7).get("a") == "b"
    with pytest.raises(SecretError, match="larger than 6 bytes"):
        await TomlFile(str(file), 6).get("a")
    file.write_bytes(b'a = "\xff"')
    with pytest.raises(SecretError, match="no text in UTF-8"):
        await TomlFile(str(file)).get("a")
    with pytest.raises(SecretError, match="is no file"):
        await TomlFile(str(tmp_path)).get("a")
    file.unlink()
    with pytest.raises(SecretError, match="can't be read: there is no such file"):
        await TomlFile(str(file)).get("a")


async def test_a_value_is_never_an_old_one(tmp_path: Path) -> None:
    file = written(tmp_path / "secrets.toml", 'a = "value-0000"')
    source = TomlFile(str(file))
    for number in range(1, 60):
        file.write_text(f'a = "broke-{number:04}"')
        file.write_text(f'a = "value-{number:04}"')
        assert await source.get("a") == f"value-{number:04}"


async def test_it_is_read_once_until_it_changes(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    read = toml_file.read

    def counted(path: str, max_bytes: int) -> tuple[bytes, os.stat_result]:
        reads.append(path)
        return read(path, max_bytes)

    monkeypatch.setattr(toml_file, "read", counted)
    source = TomlFile(str(file), clock=lambda: file.stat().st_ctime + 60)
    for name in ("database.password", "empty", "nothing"):
        await source.get(name)
    assert len(reads) == 1
    written(file, 'empty = "not any more"')
    assert await source.get("empty") == "not any more"
    assert await source.get("database.password") is None
    assert len(reads) == 2


async def test_it_is_judged_when_it_opens(file: Path) -> None:
    context = OpenContext("secrets", str(file.parent))
    async with open_toml(TomlConfig(path=Path("secrets.toml")), context) as source:
        assert await source.get("database.password") == "pass-5b77c0"
        assert "pass-5b77c0" not in repr(source)
    os.chmod(file, 0o644)
    with pytest.raises(ConfigError, match="may be used by others"):
        async with open_toml(TomlConfig(path=Path("secrets.toml")), context):
            pass
