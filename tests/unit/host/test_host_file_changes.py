"""Replaced files are told once, when the writer has finished, and nothing else is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.host.file_changes import Signature, file_changes, settle_seconds, signature_of


class Heard:
    """Counts changes; time passes only as long as somebody waits for one."""

    def __init__(self, clock: FakeClock) -> None:
        self.count = 0
        self._clock = clock

    async def follow(self, changes: AsyncGenerator[None, None]) -> None:
        async with aclosing(changes):
            async for _ in changes:
                self.count += 1

    async def told(self, count: int) -> None:
        """Wait for so many changes, and see that no more follow."""
        async with asyncio.timeout(30):
            while self.count < count:
                await self._pass_time()
        for _ in range(4):
            await self._pass_time()
        assert self.count == count

    async def _pass_time(self) -> None:
        await asyncio.sleep(0.005)  # inotify is read by the loop, signatures by a thread
        await self._clock.advance(settle_seconds)


@asynccontextmanager
async def listening(*paths: Path, since: Signature | None = None) -> AsyncIterator[Heard]:
    clock = FakeClock()
    heard = Heard(clock)
    task = asyncio.create_task(heard.follow(file_changes(paths, clock, since=since or signature_of(paths))))
    yield heard
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def replace(path: Path, content: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(content)
    fresh.replace(path)


async def test_one_change_for_a_batch(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("a")
    async with listening(one, two) as heard:
        await heard.told(0)
        replace(one, "b")
        replace(two, "c")
        await heard.told(1)
        two.unlink()
        await heard.told(2)


async def test_other_files_are_nobodys_business(tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.write_text("a")
    async with listening(one) as heard:
        (tmp_path / "other").write_text("b")
        await heard.told(0)


async def test_change_before_the_watch_is_told(tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.write_text("a")
    read = signature_of([one])
    replace(one, "b")
    async with listening(one, since=read) as heard:
        await heard.told(1)


async def test_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        await anext(file_changes([tmp_path / "nowhere" / "file"], FakeClock()))
