"""Changes of folders wake the one who waits; a write that goes on wakes only who asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from minikube_py.host.inotify import folder_changes

CHANGES: dict[str, Callable[[Path], object]] = {
    "made": lambda folder: (folder / "new").touch(),
    "written": lambda folder: (folder / "here").write_text("b"),
    "renamed": lambda folder: (folder / "here").rename(folder / "there"),
    "moved away": lambda folder: (folder / "here").rename(folder.parent / "there"),
    "removed": lambda folder: (folder / "here").unlink(),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_wakes_for_a_change_in_each_folder(name: str, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        (folder / "here").write_text("a")
    with folder_changes(folders) as changed:
        for folder in folders:
            CHANGES[name](folder)
            async with asyncio.timeout(30):
                await changed.wait()
            changed.clear()


@pytest.mark.parametrize("each_write", [True, False])
async def test_a_file_that_stays_open(each_write: bool, tmp_path: Path) -> None:
    with (
        (tmp_path / "log").open("ab", buffering=0) as log,
        folder_changes([tmp_path], each_write=each_write) as changed,
    ):
        log.write(b"line\n")
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # the loop has asked its descriptors once by now
        assert changed.is_set() is each_write


async def test_a_missing_folder_is_told_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"), folder_changes([tmp_path / "missing"]):
        pass
