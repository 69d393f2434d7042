"""Which files are secrets, what of them is the value, and how they are replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from enclave_broker_secrets import mounted_files
from enclave_broker_secrets.config import FilesConfig
from enclave_broker_secrets.mounted_files import MountedFiles, open_files

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import ConfigError, SecretError

pytestmark = pytest.mark.anyio


def in_a_minute(path: Path) -> float:
    """A time by which what was just written is no longer news."""
    return path.stat().st_ctime + 60


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("value", "value"),
        ("value\n", "value"),
        ("value\r\n", "value"),
        ("value\n\n", "value\n"),
        ("value\r", "value\r"),
        (" value \n", " value "),
        ("two\nlines\n", "two\nlines"),
        ("pässword €\n", "pässword €"),
    ],
)
async def test_one_line_feed_at_the_end_is_not_part_of_it(
    tmp_path: Path, content: str, value: str
) -> None:
    (tmp_path / "KEY").write_bytes(content.encode())
    assert await MountedFiles(str(tmp_path)).get("KEY") == value


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n"])
async def test_an_empty_one_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "KEY").write_bytes(content)
    with pytest.raises(SecretError, match=r"/KEY is empty$"):
        await MountedFiles(str(tmp_path)).get("KEY")


@pytest.mark.parametrize("name", ["a", "A.b-c_9", ".dockerconfigjson", "tls.key", "n" * 253])
async def test_names(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("the-value")
    assert await MountedFiles(str(tmp_path)).get(name) == "the-value"


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "/outside",
        "inner/../../outside",
        ".",
        "..",
        "..data",
        "a/b",
        "a\0",
        "é",
        "a\n",
    ],
)
async def test_a_name_does_not_lead_out_of_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").write_text("not-for-anyone")
    folder = tmp_path / "folder"
    for inner in ("a", "inner", "..data"):
        (folder / inner).mkdir(parents=True)
        (folder / inner / "b").write_text("not-for-anyone")
    (folder / "é").write_text("not-for-anyone")
    assert await MountedFiles(str(folder)).get(name) is None


async def test_a_link_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "outside").write_text("not-for-anyone")
    (folder / "KEY").symlink_to("../outside")
    (folder / "ABSOLUTE").symlink_to(tmp_path / "outside")
    (folder / "DANGLING").symlink_to("nothing")
    (folder / "CIRCLE").symlink_to("CIRCLE")
    source = MountedFiles(str(folder))
    for name in ("KEY", "ABSOLUTE"):
        with pytest.raises(SecretError, match="leads out of its folder"):
            await source.get(name)
    assert await source.get("DANGLING") is None
    with pytest.raises(SecretError, match="can't be read: Too many levels"):
        await source.get("CIRCLE")


async def test_a_link_that_was_good_is_judged_again(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "inside").write_text("the-value")
    (tmp_path / "outside").write_text("not-for-anyone")
    (folder / "KEY").symlink_to("inside")
    source = MountedFiles(str(folder), clock=lambda: in_a_minute(folder))
    assert await source.get("KEY") == "the-value"
    (folder / "new").symlink_to("../outside")
    (folder / "new").replace(folder / "KEY")
    with pytest.raises(SecretError, match="leads out of its folder"):
        await source.get("KEY")


async def test_the_folder_may_be_a_link_itself(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "KEY").write_text(f"value-{number}")
    folder = tmp_path / "folder"
    folder.symlink_to("1")
    source = MountedFiles(str(folder), clock=lambda: in_a_minute(tmp_path))
    assert await source.get("KEY") == "value-1"
    (tmp_path / "new").symlink_to("2")
    (tmp_path / "new").replace(folder)
    assert await source.get("KEY") == "value-2"


async def test_what_is_no_file_is_an_error_and_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "FOLDER").mkdir()
    os.mkfifo(tmp_path / "PIPE")
    (tmp_path / "ZERO").symlink_to("/dev/zero")
    source = MountedFiles(str(tmp_path))
    for name in ("FOLDER", "PIPE"):
        with pytest.raises(SecretError, match=f"/{name} is no file"):
            await source.get(name)
    with pytest.raises(SecretError):
        await source.get("ZERO")


async def test_a_large_one_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "KEY").write_text("1234567890")
    assert await MountedFiles(str(tmp_path), 10).get("KEY") == "1234567890"
    with pytest.raises(SecretError, match=r"KEY is larger than 9 bytes$"):
        await MountedFiles(str(tmp_path), 9).get("KEY")


async def test_bytes_that_are_no_text_are_in_no_part_of_the_error(tmp_path: Path) -> None:
    (tmp_path / "KEY").write_bytes(b"the-value\xff")
    with pytest.raises(SecretError, match="no text in UTF-8") as caught:
        await MountedFiles(str(tmp_path)).get("KEY")
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


async def test_it_comes_and_goes(tmp_path: Path) -> None:
    file = tmp_path / "KEY"
    source = MountedFiles(str(tmp_path), clock=lambda: in_a_minute(tmp_path))
    assert await source.get("KEY") is None
    file.write_text("the-value")
    assert await source.get("KEY") == "the-value"
    file.unlink()
    assert await source.get("KEY") is None
    os.rmdir(tmp_path)
    with pytest.raises(SecretError, match="is no folder"):
        await source.get("KEY")


@pytest.mark.parametrize("in_place", [True, False])
async def test_a_value_is_never_an_old_one(tmp_path: Path, in_place: bool) -> None:
    """However quickly it changes: all values are of one length, and most within one tick."""
    file, fresh = tmp_path / "KEY", tmp_path / "fresh"
    source = MountedFiles(str(tmp_path))
    for number in range(60):
        for value in (f"before-{number:04}", f"newest-{number:04}"):
            if in_place:
                file.write_text(value)
            else:
                fresh.write_text(value)
                fresh.replace(file)
        assert await source.get("KEY") == f"newest-{number:04}"


async def test_a_file_is_read_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "KEY"
    file.write_text("the-value")
    reads: list[str] = []
    read = mounted_files.read

    def counted(path: str, max_bytes: int) -> tuple[bytes, os.stat_result]:
        reads.append(path)
        return read(path, max_bytes)

    monkeypatch.setattr(mounted_files, "read", counted)
    source = MountedFiles(str(tmp_path), clock=lambda: in_a_minute(file))
    for _ in range(3):
        assert await source.get("KEY") == "the-value"
    assert reads == [str(file)]
    (tmp_path / "fresh").write_text("new-value")
    (tmp_path / "fresh").replace(file)
    for _ in range(3):
        assert await source.get("KEY") == "new-value"
    assert len(reads) == 2
    # Just written, it is not trusted yet.
    hasty = MountedFiles(str(tmp_path), clock=lambda: file.stat().st_ctime)
    for _ in range(3):
        assert await hasty.get("KEY") == "new-value"
    assert len(reads) == 5


async def test_without_a_folder_it_does_not_open(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="/nowhere is no folder"):
        async with open_files(FilesConfig(path=Path("nowhere")), OpenContext("s", str(tmp_path))):
            pass
