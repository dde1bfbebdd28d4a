"""Removes unused images when the image file system is nearly full (``pkg/kubelet/images`` GC).

Above the high mark images that no container uses are removed, the longest unused first, until the
low mark is reached. Pinned images and those first seen less than two minutes ago are spared.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from minikube_py.components.kubelet.runtime.types import Image, Runtime, RuntimeFailure
from minikube_py.machinery.clock import Clock

log = logging.getLogger(__name__)

least_age_seconds = 120.0


class ImageCollector:
    """Knows when images were first seen and last used; written by the housekeeping task only."""

    def __init__(self, runtime: Runtime, clock: Clock, *, high_percent: int, low_percent: int) -> None:
        self._runtime = runtime
        self._clock = clock
        self._high = high_percent
        self._low = low_percent
        self._first_seen: dict[str, float] = {}
        self._last_used: dict[str, float] = {}

    async def collect(self, fallback: Path) -> int:
        """Free space if it is scarce; returns the bytes that were freed. Raises RuntimeFailure.

        ``fallback`` lies on the file system that is measured when the runtime's is not visible here.
        """
        images = await self._runtime.list_images()
        listed = await self._runtime.list_containers()
        used = {item.image_ref for item in listed} | {item.image for item in listed}
        now = self._clock.monotonic()
        self._note(images, used, now)
        total, taken = await self._usage(fallback)
        if not total or taken * 100 < total * self._high:
            return 0
        wanted = taken - total * self._low // 100
        return await self._remove(images, used, wanted, now)

    def _note(self, images: Sequence[Image], used: set[str], now: float) -> None:
        present = {item.id for item in images}
        for image in images:
            self._first_seen.setdefault(image.id, now)
            if _names(image) & used:
                self._last_used[image.id] = now
        for table in (self._first_seen, self._last_used):
            for gone in [known for known in table if known not in present]:
                del table[gone]

    async def _usage(self, fallback: Path) -> tuple[int, int]:
        systems = await self._runtime.image_filesystem()
        candidates = [*(Path(item.mountpoint) for item in systems), fallback]
        return await asyncio.to_thread(_disk_usage, candidates)

    async def _remove(self, images: Sequence[Image], used: set[str], wanted: int, now: float) -> int:
        candidates = [
            item
            for item in images
            if not item.pinned and not _names(item) & used and now - self._first_seen[item.id] >= least_age_seconds
        ]
        freed = 0
        for image in sorted(candidates, key=lambda item: self._last_used.get(item.id, self._first_seen[item.id])):
            if freed >= wanted:
                break
            try:
                await self._runtime.remove_image(image.id)
            except RuntimeFailure as failure:
                log.info("cannot remove image", extra={"image": image.id, "error": str(failure)})
                continue
            freed += image.size_bytes
        return freed


def _disk_usage(candidates: Sequence[Path]) -> tuple[int, int]:
    """Total and used bytes of the file system of the first candidate that exists here."""
    usage = shutil.disk_usage(next(path for path in candidates if path.exists()))
    return usage.total, usage.total - usage.free


def _names(image: Image) -> set[str]:
    return {image.id, *image.repo_tags, *image.repo_digests}
