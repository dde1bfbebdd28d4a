"""What ``pyk3s secrets-encrypt`` does to a running server.

The commands change the configuration file that the server follows, wait until the server says (in its metrics) that
it uses exactly that file, and then have every Secret written anew through the API. So a rotation needs no restart,
and a key is taken away only when nothing is stored with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minikube_py.client.types import Client, PatchType, WriteOptions
from minikube_py.components.apiserver.storage.encryption import managed
from minikube_py.components.apiserver.storage.encryption.control import file_hash
from minikube_py.machinery.errors import ApiError, is_not_found
from minikube_py.machinery.objects import name_of, namespace_of
from minikube_py.machinery.resources import SECRETS

if TYPE_CHECKING:
    from minikube_py.client.http import HttpClient

_PAGE = 500
_RELOAD_SECONDS = 30.0
_POLL_SECONDS = 0.25
_INFO = "apiserver_encryption_config_controller_last_config_info"
_WRITE = WriteOptions(field_manager="pyk3s-secrets-encrypt")


class RotationError(Exception):
    """A command that cannot be done now; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Status:
    enabled: bool
    stage: str
    in_use: bool
    """Whether the running server uses the file as it is."""
    keys: tuple[tuple[str, str], ...]


async def status(client: HttpClient, path: Path) -> Status | None:
    """None where pyk3s keeps no configuration. Raises ConfigurationError, ApiError."""
    if not await asyncio.to_thread(path.exists):
        return None
    content, stage = await asyncio.to_thread(managed.read, path)
    return Status(managed.is_enabled(content), stage, await _in_use(client, path), tuple(managed.keys(content)))


async def switch(client: HttpClient, path: Path, *, on: bool) -> int:
    """Encrypt from now on or no longer, and write every Secret so; returns how many."""
    content, stage = await asyncio.to_thread(managed.read, path)
    await _use(client, path, managed.enabled(content, on=on), stage)
    return await rewrite(client)


async def prepare(client: HttpClient, path: Path) -> None:
    """First step of a rotation: every server can read a new key."""
    content, stage = await asyncio.to_thread(managed.read, path)
    _expect(
        content, stage, ("start", "reencrypt_finished"), "a rotation is under way; end it with rotate and reencrypt"
    )
    await _use(client, path, managed.with_new_key(content, time.time()), "prepare")


async def rotate(client: HttpClient, path: Path) -> None:
    """Second step: the new key writes."""
    content, stage = await asyncio.to_thread(managed.read, path)
    _expect(content, stage, ("prepare",), "run pyk3s secrets-encrypt prepare first")
    await _use(client, path, managed.with_last_key_first(content), "rotate")


async def reencrypt(client: HttpClient, path: Path) -> int:
    """Last step: every Secret is written with the new key, then the old ones go; returns how many Secrets."""
    content, stage = await asyncio.to_thread(managed.read, path)
    _expect(content, stage, ("rotate",), "run pyk3s secrets-encrypt rotate first")
    count = await rewrite(client)
    await _use(client, path, managed.with_first_key_alone(content), "reencrypt_finished")
    return count


async def rotate_keys(client: HttpClient, path: Path) -> int:
    """All three steps."""
    await prepare(client, path)
    await rotate(client, path)
    return await reencrypt(client, path)


async def rewrite(client: Client) -> int:
    """Have the server write every Secret; those that are as they should be stay untouched. Raises ApiError."""
    count, token = 0, ""
    while True:
        page = await client.list(SECRETS, limit=_PAGE, continue_token=token)
        for secret in page.items:
            try:
                await client.patch(
                    SECRETS, name_of(secret), {}, namespace_of(secret), patch_type=PatchType.MERGE, options=_WRITE
                )
                count += 1
            except ApiError as error:
                if not is_not_found(error):
                    raise
        token = page.continue_token
        if not token:
            return count


def _expect(content: managed.Content, stage: str, stages: tuple[str, ...], mend: str) -> None:
    if not managed.is_enabled(content):
        raise RotationError("encryption is disabled; run pyk3s secrets-encrypt enable first")
    if stage not in stages:
        raise RotationError(f"the rotation is at stage {stage}: {mend}")


async def _use(client: HttpClient, path: Path, content: managed.Content, stage: str) -> None:
    """Write the file and wait until the server uses it; the former file comes back when it does not."""
    former, former_stage = await asyncio.to_thread(managed.read, path)
    await asyncio.to_thread(managed.write, path, content, stage)
    if await _eventually(lambda: _in_use(client, path)):
        return
    await asyncio.to_thread(managed.write, path, former, former_stage)
    raise RotationError(
        f"the server did not take the new configuration within {_RELOAD_SECONDS:g} seconds, so it was taken back; "
        "the server's log says why"
    )


async def _eventually(holds: Callable[[], Awaitable[bool]]) -> bool:
    try:
        async with asyncio.timeout(_RELOAD_SECONDS):
            while True:
                if await holds():  # the server is another process: it can only be asked
                    return True
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        return False


async def _in_use(client: HttpClient, path: Path) -> bool:
    digest = await asyncio.to_thread(file_hash, path)
    metrics = (await client.raw("GET", "/metrics")).decode()
    return f'{_INFO}{{hash="{digest}"}} 1.0' in metrics
