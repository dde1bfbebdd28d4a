"""Follows a configuration file: whatever changes is read, checked and put to use without a restart.

A file that cannot be used is told in the log, and what was in use stays. Nothing polls: the kernel tells of changes
(inotify); kube-apiserver looks every minute besides.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

from minikube_py.components.apiserver.configuration_file import ConfigurationError
from minikube_py.host.file_changes import file_changes, signature_of
from minikube_py.machinery.clock import Clock

log = logging.getLogger(__name__)

T = TypeVar("T")


async def follow_file(
    path: Path, read: Callable[[Path], T], apply: Callable[[T], Awaitable[None]], clock: Clock
) -> None:
    """Until cancelled: ``apply`` what ``read`` makes of the file whenever it has changed.

    ``read`` blocks (it runs in a thread) and raises ConfigurationError. The state at the call counts as read.
    """
    seen = await asyncio.to_thread(signature_of, [path])
    async with aclosing(file_changes([path], clock, since=seen)) as changes:
        async for _ in changes:
            if not await asyncio.to_thread(path.exists):
                continue  # a file that is away for a moment is being replaced
            try:
                content = await asyncio.to_thread(read, path)
            except ConfigurationError as error:
                log.error("configuration file cannot be used; the former one stays", extra={"error": str(error)})
                continue
            except Exception:  # a mistake in a reader must not end the following of its file
                log.exception("configuration file cannot be read; the former one stays", extra={"path": str(path)})
                continue
            await apply(content)
