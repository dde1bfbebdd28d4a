"""Imports image archives through containerd's own services (content, images, leases).

A lease keeps half-imported content from the garbage collector; content that is there already is
not written again, so that importing twice costs next to nothing. Images get the label that CRI
runtimes use for "never collect".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from minikube_py.components.kubelet.runtime import messages
from minikube_py.components.kubelet.runtime.images.archive import Archive, ArchiveError, Blob, NamedImage, read_archive
from minikube_py.components.kubelet.runtime.rpc.channel import Channel, RpcError
from minikube_py.components.kubelet.runtime.rpc.protobuf import Message
from minikube_py.components.kubelet.runtime.types import Runtime, RuntimeFailure
from minikube_py.machinery.clock import Clock

log = logging.getLogger(__name__)

call_timeout_seconds = 30.0
visible_timeout_seconds = 10.0
_chunk_bytes = 1 << 20
_namespace = ("containerd-namespace", "k8s.io")
_write, _commit = 1, 2
_pinned = {"io.cri-containerd.pinned": "pinned"}
_CONTENT = "/containerd.services.content.v1.Content/"
_IMAGES = "/containerd.services.images.v1.Images/"
_LEASES = "/containerd.services.leases.v1.Leases/"
_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


async def import_image_archive(socket: str, path: Path) -> Sequence[str]:
    """Import every image of an archive into containerd at ``socket``; returns their names.

    Raises ArchiveError (the file) and RuntimeFailure (containerd).
    """
    archive = await asyncio.to_thread(read_archive, path)
    plain = Channel(socket, (_namespace,))
    lease = f"pyk3s-import-{uuid4().hex}"
    leased = Channel(socket, (_namespace, ("containerd-lease", lease)))
    table = messages.containerd()
    try:
        request = table.encode("CreateLeaseRequest", {"id": lease})
        await plain.unary(_LEASES + "Create", request, timeout_seconds=call_timeout_seconds)
        try:
            await _import(leased, archive)
        finally:
            request = table.encode("DeleteLeaseRequest", {"id": lease})
            await plain.unary(_LEASES + "Delete", request, timeout_seconds=call_timeout_seconds)
    except RpcError as error:
        raise RuntimeFailure("ImportImage", error.code, f"{path}: {error.message}") from error
    finally:
        archive.close()
        await plain.close()
        await leased.close()
    return [image.name for image in archive.images]


async def import_folder(socket: str, folder: Path) -> Sequence[str]:
    """Import every archive of a folder, in order of name.

    One that cannot be read or that containerd refuses is logged and left out: a bad file must not
    keep the node from starting. Raises RuntimeFailure when containerd is not there.
    """
    names: list[str] = []
    for path in await asyncio.to_thread(_archives, folder):
        try:
            names += await import_image_archive(socket, path)
        except RuntimeFailure as failure:
            if failure.code == "UNAVAILABLE":
                raise
            log.error("image archive left out", extra={"path": str(path), "error": failure.message})
        except (ArchiveError, OSError) as error:
            log.error("image archive left out", extra={"path": str(path), "error": str(error)})
    return names


async def wait_visible(runtime: Runtime, names: Sequence[str], clock: Clock) -> None:
    """Return when CRI lists the images: it learns of an import through an event. Raises RuntimeFailure."""
    deadline = clock.monotonic() + visible_timeout_seconds
    pause = 0.002
    for name in names:
        while await runtime.image_status(name) is None:
            if clock.monotonic() > deadline:
                raise RuntimeFailure("ImageStatus", "DEADLINE_EXCEEDED", f"{name} was imported but is not listed")
            await clock.sleep(pause)
            pause = min(pause * 2, 0.1)


def _archives(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name.endswith(_SUFFIXES) and not path.name.startswith("."))


async def _import(channel: Channel, archive: Archive) -> None:
    for blob in archive.blobs:
        await _write_blob(channel, blob)
    for image in archive.images:
        await _put_image(channel, image)


async def _write_blob(channel: Channel, blob: Blob) -> None:
    """Write one blob unless it is there; containerd checks size and digest when it commits."""
    table = messages.containerd()
    head: Message = {"ref": f"pyk3s-{blob.digest}", "total": blob.size, "expected": blob.digest}
    reader = await asyncio.to_thread(blob.open)
    try:
        async with asyncio.timeout(None) as deadline, await channel.call(_CONTENT + "Write") as call:
            loop = asyncio.get_running_loop()
            offset = 0
            while True:
                deadline.reschedule(loop.time() + call_timeout_seconds)
                chunk = await asyncio.to_thread(reader.read, _chunk_bytes)
                last = offset + len(chunk) >= blob.size or not chunk
                request = head | {"action": _commit if last else _write, "offset": offset, "data": chunk}
                if last:
                    request["labels"] = blob.labels
                await call.send(table.encode("WriteContentRequest", request), end=last)
                if await call.receive() is None:
                    raise RpcError("INTERNAL", f"containerd ended the write of {blob.digest} early")
                offset += len(chunk)
                if last:
                    return
    except TimeoutError:
        raise RpcError("DEADLINE_EXCEEDED", f"writing {blob.digest} stands still") from None
    except RpcError as error:
        if error.code != "ALREADY_EXISTS":
            raise
    finally:
        await asyncio.to_thread(reader.close)


async def _put_image(channel: Channel, image: NamedImage) -> None:
    """Create the image, or point it to the new content."""
    table = messages.containerd()
    target = {"media_type": image.media_type, "digest": image.digest, "size": image.size}
    record: Message = {"name": image.name, "labels": _pinned, "target": target}
    try:
        request = table.encode("CreateImageRequest", {"image": record})
        await channel.unary(_IMAGES + "Create", request, timeout_seconds=call_timeout_seconds)
    except RpcError as error:
        if error.code != "ALREADY_EXISTS":
            raise
        request = table.encode(
            "UpdateImageRequest",
            {"image": record, "update_mask": {"paths": ["target", "labels.io.cri-containerd.pinned"]}},
        )
        await channel.unary(_IMAGES + "Update", request, timeout_seconds=call_timeout_seconds)
