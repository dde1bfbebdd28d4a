"""etcd's Maintenance and Cluster services, for a cluster of one member, and the refusal of Auth."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from minikube_py.datastore.etcd import errors
from minikube_py.datastore.etcd.messages import message
from minikube_py.datastore.etcd.ranges import Identity
from minikube_py.datastore.etcd.transport import Call
from minikube_py.datastore.rows import revision_of
from minikube_py.datastore.transactions import TransactionalStore
from minikube_py.datastore.types import Compacted, FutureRevision

# Clients switch features by it: kube-apiserver asks for progress notifications from 3.5.8 on.
ETCD_VERSION = "3.5.21"
_CHUNK_BYTES = 32 << 10

AlarmResponse = message("AlarmResponse")
AuthStatusResponse = message("AuthStatusResponse")
DefragmentResponse = message("DefragmentResponse")
HashKVResponse = message("HashKVResponse")
HashResponse = message("HashResponse")
Member = message("Member")
MemberListResponse = message("MemberListResponse")
SnapshotResponse = message("SnapshotResponse")
StatusResponse = message("StatusResponse")


class MaintenanceService:
    """Handlers; each raises EtcdError or a store's error. ``client_url`` is what the member is reached at."""

    def __init__(self, store: TransactionalStore, identity: Identity, client_url: str) -> None:
        self._store = store
        self._identity = identity
        self._client_url = client_url

    async def status(self, request: Any, call: Call) -> Any:
        size, revision = await self._store.size_bytes(), self._store.current_revision
        return StatusResponse(
            header=self._header(),
            version=ETCD_VERSION,
            dbSize=size,
            dbSizeInUse=size,
            leader=self._identity.member_id,
            raftIndex=revision,
            raftAppliedIndex=revision,
            raftTerm=self._identity.term,
        )

    async def alarm(self, request: Any, call: Call) -> Any:
        """There are none: a full disk is an error of the write that meets it."""
        return AlarmResponse(header=self._header())

    async def defragment(self, request: Any, call: Call) -> Any:
        """Give free space back now; housekeeping does it anyway."""
        await self._store.give_back_space()
        return DefragmentResponse(header=self._header())

    async def hash(self, request: Any, call: Call) -> Any:
        return HashResponse(header=self._header(), hash=await self._hash_upto(self._store.current_revision))

    async def hash_kv(self, request: Any, call: Call) -> Any:
        """The checksum of all revisions up to the asked one that are not compacted."""
        newest, compacted = self._store.current_revision, self._store.compacted_revision
        revision = request.revision or newest
        if revision > newest:
            raise FutureRevision(revision, newest)
        if revision < compacted:
            raise Compacted(revision, compacted)
        value = await self._hash_upto(revision)
        return HashKVResponse(header=self._header(), hash=value, compact_revision=compacted, hash_revision=revision)

    async def snapshot(self, requests: AsyncIterator[Any], call: Call) -> None:
        """A SQLite datastore (which ``pyk3s`` opens), followed by its SHA-256 as etcd appends it."""
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="pyk3s-snapshot-"))
        path = folder / "snapshot.db"
        try:
            await self._store.snapshot(path)
            digest = hashlib.sha256()
            file = await asyncio.to_thread(path.open, "rb")
            with file:
                remaining = (await asyncio.to_thread(path.stat)).st_size
                while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
                    digest.update(chunk)
                    remaining -= len(chunk)
                    part = SnapshotResponse(
                        header=self._header(), remaining_bytes=remaining + digest.digest_size, blob=chunk
                    )
                    await call.write(part.SerializeToString())
            last = SnapshotResponse(header=self._header(), blob=digest.digest(), version=ETCD_VERSION)
            await call.write(last.SerializeToString())
        finally:
            await asyncio.to_thread(_remove, folder)

    async def member_list(self, request: Any, call: Call) -> Any:
        member = Member(ID=self._identity.member_id, name="pyk3s", clientURLs=[self._client_url])
        return MemberListResponse(header=self._header(), members=[member])

    async def auth_status(self, request: Any, call: Call) -> Any:
        return AuthStatusResponse(header=self._header(), enabled=False, authRevision=1)

    async def _hash_upto(self, revision: int) -> int:
        value = 0
        async for rows in self._store.rows():
            for row in rows:
                if revision_of(row[0]) > revision:
                    return value
                value = zlib.crc32(repr(row).encode("utf-8", "surrogatepass"), value)
            await asyncio.sleep(0)
        return value

    def _header(self) -> Any:
        return self._identity.header(self._store.current_revision)


async def refuse_auth(request: Any, call: Call) -> Any:
    """Users and roles are the API server's business; certificates say who may connect."""
    raise errors.auth_not_enabled()


async def refuse_member_add(request: Any, call: Call) -> Any:
    raise errors.one_member_only()


async def refuse_member_change(request: Any, call: Call) -> Any:
    raise errors.member_not_found()


async def refuse_move_leader(request: Any, call: Call) -> Any:
    raise errors.bad_leader_transferee()


async def refuse_downgrade(request: Any, call: Call) -> Any:
    raise errors.no_downgrade()


def _remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
