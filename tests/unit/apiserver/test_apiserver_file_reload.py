"""Configuration files that change while the server runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from minikube_py.client.clock import SystemClock
from minikube_py.components.apiserver.configuration_file import ConfigurationError, parse_duration
from minikube_py.components.apiserver.file_reload import follow_file


class Hasty(SystemClock):
    """Settles at once."""

    __slots__ = ()

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, 0.01))


class Followed:
    """A file, and what was put to use of it. ``seen`` gets everything that was read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.applied: list[str] = []
        self.seen: asyncio.Queue[str] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def read(self, path: Path) -> str:
        text = path.read_text()
        self._loop.call_soon_threadsafe(self.seen.put_nowait, f"read {text}")
        if text == "refused":
            raise ConfigurationError("refused")
        if text == "broken":
            raise RecursionError
        return text

    async def apply(self, text: str) -> None:
        self.applied.append(text)
        self.seen.put_nowait(f"applied {text}")


@asynccontextmanager
async def following(path: Path) -> AsyncIterator[Followed]:
    """Follow a file that says "first"."""
    await asyncio.to_thread(path.write_text, "first")
    followed = Followed(path)
    task = asyncio.create_task(follow_file(path, followed.read, followed.apply, Hasty()))
    # A file that was changed before the watch began is noticed as well, so nothing has to be waited for here.
    yield followed
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def change(followed: Followed, text: str, *, until: str = "applied") -> None:
    """Replace the file and wait until it has been applied, or just read."""
    fresh = followed.path.with_suffix(".new")
    await asyncio.to_thread(fresh.write_text, text)
    await asyncio.to_thread(fresh.rename, followed.path)
    async with asyncio.timeout(30):
        while await followed.seen.get() != f"{until} {text}":
            pass


async def test_what_changes_is_put_to_use_once(tmp_path: Path) -> None:
    async with following(tmp_path / "file") as followed:
        await started(followed)
        await change(followed, "second")
        await change(followed, "third one")
        (tmp_path / "another").touch()
        await change(followed, "last")
    assert [text for text in followed.applied if text != "begin"] == ["second", "third one", "last"]


async def started(followed: Followed) -> None:
    """The first change that is seen shows that the watch stands."""
    async with asyncio.timeout(30):
        while followed.seen.empty():
            await asyncio.to_thread(followed.path.write_text, "begin")
            await asyncio.sleep(0.02)
        while await followed.seen.get() != "applied begin":
            pass
    followed.applied.clear()


async def test_what_cannot_be_used_is_left_out_and_the_next_is_read(tmp_path: Path) -> None:
    async with following(tmp_path / "file") as followed:
        await started(followed)
        await change(followed, "refused", until="read")
        await change(followed, "broken", until="read")
        await asyncio.to_thread(followed.path.unlink)
        await change(followed, "good at last")
    assert [text for text in followed.applied if text != "begin"] == ["good at last"]


def test_durations() -> None:
    good = {"1s": 1, "1m30s": 90, "1.5h": 5400, "250ms": 0.25, "-2s": -2, "0": 0}
    assert {text: parse_duration(text) for text in good} == good
    assert [parse_duration(text) for text in ("", "1", "s", "1 s", "1d", "-", "1s2")] == [None] * 7
