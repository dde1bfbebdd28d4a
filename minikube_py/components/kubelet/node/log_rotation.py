"""Keeps container logs small: a log above its limit is set aside, compressed, and in the end removed.

The kubelet's ``container_log_manager``: the current file is renamed with a time stamp, the runtime
reopens its log, earlier ones are compressed, and at most ``container_log_max_files`` stay.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import shutil
import time
from pathlib import Path

from minikube_py.components.kubelet.kit import Kit
from minikube_py.components.kubelet.pods.pods import Pods
from minikube_py.components.kubelet.runtime.types import ContainerState, RuntimeFailure

log = logging.getLogger(__name__)

check_seconds = 60.0
"""Runtimes tell nobody how large a log is; one stat for each running container a minute is cheap."""


async def rotate_logs(kit: Kit, pods: Pods) -> None:
    """Look after the logs of all running containers until cancelled."""
    while True:
        await kit.clock.sleep(check_seconds)
        for worker in pods.workers:
            for status in worker.state.containers:
                if status.container.state is ContainerState.RUNNING and status.log_path:
                    try:
                        await rotate_if_large(kit, Path(status.log_path), status.container.id)
                    except (OSError, RuntimeFailure) as error:
                        log.warning("cannot rotate log", extra={"path": status.log_path, "error": str(error)})


async def rotate_if_large(kit: Kit, path: Path, container_id: str) -> bool:
    """Rotate one log if it is above its limit; whether it was. Raises OSError or RuntimeFailure."""
    settings = kit.settings
    if not await asyncio.to_thread(_is_larger, path, settings.container_log_max_bytes):
        return False
    await asyncio.to_thread(_tidy, path, settings.container_log_max_files)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(kit.clock.now()))
    aside = path.with_name(f"{path.name}.{stamp}")
    await asyncio.to_thread(path.rename, aside)
    try:
        await kit.runtime.reopen_log(container_id)
    except RuntimeFailure:
        await asyncio.to_thread(aside.rename, path)
        raise
    return True


def _is_larger(path: Path, limit: int) -> bool:
    try:
        return path.stat().st_size > limit
    except FileNotFoundError:
        return False


def _tidy(path: Path, most_files: int) -> None:
    """Compress the logs that were set aside and remove the oldest, leaving room for one more."""
    aside = sorted(item for item in path.parent.glob(f"{path.name}.*") if not item.name.endswith(".tmp"))
    # The current file and the one about to be set aside count too.
    doomed = aside[: max(len(aside) - (most_files - 2), 0)]
    for item in doomed:
        item.unlink()
    for item in aside[len(doomed) :]:
        if item.suffix != ".gz":
            _compress(item)


def _compress(path: Path) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    with path.open("rb") as source, gzip.open(temporary, "wb") as target:
        shutil.copyfileobj(source, target)
    temporary.rename(path.with_name(f"{path.name}.gz"))
    path.unlink()
