"""A datastore on the other side of etcd's protocol: the shared suites run through it.

Reads and writes go over gRPC with the requests that kube-apiserver's storage layer makes; what
``Datastore`` offers without awaiting is asked of the served store itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc

from minikube_py.datastore.etcd import serve_etcd
from minikube_py.datastore.etcd.keys import bytes_of, text_of
from minikube_py.datastore.etcd.messages import message
from minikube_py.datastore.index import prefix_end
from minikube_py.datastore.transactions import (
    Compare,
    Delete,
    KeyNotFound,
    LeaseStatus,
    Operation,
    Plan,
    Put,
    Scan,
    Step,
    Transaction,
    Write,
)
from minikube_py.datastore.types import (
    Change,
    Compacted,
    FutureRevision,
    KeyExists,
    LeaseNotFound,
    RangeResult,
    Record,
    RevisionMismatch,
    StoreUnavailable,
)


@contextlib.asynccontextmanager
async def served_by_etcd(store: Any, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The address at which ``store`` is served by etcd's protocol meanwhile."""
    ready = asyncio.Event()
    addresses: list[str] = []
    serving = asyncio.create_task(
        serve_etcd(store, listen="127.0.0.1:0", tls=tls, ready=ready.set, bound=addresses.append)
    )
    waiting = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        yield addresses[0]
    finally:
        waiting.cancel()
        serving.cancel()
        await asyncio.gather(serving, waiting, return_exceptions=True)


_STREAMS = {"Watch": "stream_stream", "LeaseKeepAlive": "stream_stream", "Snapshot": "unary_stream"}
_RELATIONS = {"=": 0, ">": 1, "<": 2, "!=": 3}
_TARGETS = {"version": 0, "create_revision": 1, "mod_revision": 2, "value": 3, "lease": 4}


def method(channel: Any, service: str, name: str, request: str, response: str) -> Any:
    """A callable for one method of etcd."""
    make = getattr(channel, _STREAMS.get(name, "unary_unary"))
    return make(
        f"/etcdserverpb.{service}/{name}",
        request_serializer=message(request).SerializeToString,
        response_deserializer=message(response).FromString,
    )


def record_of(kv: Any) -> Record:
    return Record(text_of(kv.key), kv.value, kv.mod_revision, kv.create_revision, kv.version, kv.lease)


def change_of(event: Any) -> Change:
    previous = record_of(event.prev_kv) if event.HasField("prev_kv") else None
    return Change(record_of(event.kv), previous, deleted=event.type == 1)


def end_of(start: str, end: str | None) -> bytes:
    if end is None:
        return b""
    return bytes_of(end) if end else b"\0"


class EtcdWatch:
    """One watch on a stream of its own, with previous values."""

    def __init__(self, call: Any, create: Any) -> None:
        self._call = call
        self._create = create
        self._started = False
        self._closed = False
        self.progress_revision = 0

    def __aiter__(self) -> AsyncIterator[Sequence[Change]]:
        return self

    async def __anext__(self) -> Sequence[Change]:
        if not self._started:
            self._started = True
            await self._call.write(self._create)
        while not self._closed:
            try:
                response = await self._call.read()
            except grpc.aio.AioRpcError as failure:
                raise StoreUnavailable(failure.details()) from failure
            if response is grpc.aio.EOF:
                break
            if response.compact_revision:
                raise Compacted(self._create.create_request.start_revision, response.compact_revision)
            self.progress_revision = response.header.revision
            if response.events:
                return [change_of(event) for event in response.events]
        raise StopAsyncIteration

    def ready(self) -> Sequence[Sequence[Change]]:
        return ()

    def close(self) -> None:
        self._closed = True
        self._call.cancel()


class EtcdStore:
    """``TransactionalStore`` by way of gRPC."""

    def __init__(self, channel: Any, served: Any) -> None:
        self.served = served
        self.channel = channel
        self._range = method(channel, "KV", "Range", "RangeRequest", "RangeResponse")
        self._delete = method(channel, "KV", "DeleteRange", "DeleteRangeRequest", "DeleteRangeResponse")
        self._txn = method(channel, "KV", "Txn", "TxnRequest", "TxnResponse")
        self._compact = method(channel, "KV", "Compact", "CompactionRequest", "CompactionResponse")
        self._watch = method(channel, "Watch", "Watch", "WatchRequest", "WatchResponse")
        self._grant = method(channel, "Lease", "LeaseGrant", "LeaseGrantRequest", "LeaseGrantResponse")
        self._revoke = method(channel, "Lease", "LeaseRevoke", "LeaseRevokeRequest", "LeaseRevokeResponse")
        self._keep_alive = method(channel, "Lease", "LeaseKeepAlive", "LeaseKeepAliveRequest", "LeaseKeepAliveResponse")
        self._ttl = method(channel, "Lease", "LeaseTimeToLive", "LeaseTimeToLiveRequest", "LeaseTimeToLiveResponse")
        self._snapshot = method(channel, "Maintenance", "Snapshot", "SnapshotRequest", "SnapshotResponse")
        self.current = served.current
        self.leases = served.leases
        self.churn = served.churn
        self.rows = served.rows

    @property
    def current_revision(self) -> int:
        return self.served.current_revision  # type: ignore[no-any-return]

    @property
    def compacted_revision(self) -> int:
        return self.served.compacted_revision  # type: ignore[no-any-return]

    async def call(self, call: Any, request: Any, *, asked: int = 0) -> Any:
        try:
            return await call(request)
        except grpc.aio.AioRpcError as failure:
            text = failure.details() or ""
            if "has been compacted" in text:
                raise Compacted(asked, self.compacted_revision) from failure
            if "future revision" in text:
                raise FutureRevision(asked, self.current_revision) from failure
            if "lease not found" in text:
                raise LeaseNotFound(text) from failure
            if "key not found" in text:
                raise KeyNotFound(text) from failure
            if failure.code() is grpc.StatusCode.UNAVAILABLE:
                raise StoreUnavailable(text) from failure
            raise

    async def scan(
        self,
        start: str,
        end: str | None = None,
        *,
        revision: int = 0,
        limit: int = 0,
        keys_only: bool = False,
        count_only: bool = False,
    ) -> RangeResult:
        request = message("RangeRequest")(
            key=bytes_of(start) or b"\0",
            range_end=end_of(start, end),
            revision=revision,
            limit=limit,
            keys_only=keys_only,
            count_only=count_only,
        )
        found = await self.call(self._range, request, asked=revision)
        return RangeResult([record_of(kv) for kv in found.kvs], found.header.revision, found.count, found.more)

    async def get(self, key: str, *, revision: int = 0) -> Record | None:
        records = (await self.scan(key, revision=revision)).records
        return records[0] if records else None

    async def range(
        self, prefix: str, *, start: str = "", revision: int = 0, limit: int = 0, keys_only: bool = False
    ) -> RangeResult:
        end = prefix_end(prefix)
        found = await self.scan(max(prefix, start), end, revision=revision, limit=limit, keys_only=keys_only)
        count = await self.count(prefix, revision=revision)
        return RangeResult(found.records, found.revision, count, found.more)

    async def count(self, prefix: str, *, revision: int = 0) -> int:
        return (await self.scan(prefix, prefix_end(prefix), revision=revision, count_only=True)).count

    async def create(
        self, key: str, value: bytes, *, lease: int = 0, volatile: bool = False, client: str = ""
    ) -> Record:
        current = await self._guarded(key, 0, {"request_put": self._put(key, value, lease)})
        if current is not None:
            raise KeyExists(key, current)
        record = await self.get(key)
        assert record is not None
        return record

    async def update(
        self,
        key: str,
        value: bytes,
        *,
        expected_revision: int,
        lease: int = 0,
        volatile: bool = False,
        client: str = "",
    ) -> Record:
        before = await self.get(key)
        response = await self._optimistic(key, expected_revision, {"request_put": self._put(key, value, lease)})
        if not response.succeeded:
            raise RevisionMismatch(key, expected_revision, _first(response))
        revision = response.header.revision
        assert before is not None
        return Record(key, value, revision, before.create_revision, before.version + 1, lease)

    async def delete(self, key: str, *, expected_revision: int = 0, client: str = "") -> Record | None:
        request = message("DeleteRangeRequest")(key=bytes_of(key), prev_kv=True)
        if expected_revision:
            response = await self._optimistic(key, expected_revision, {"request_delete_range": request})
            if not response.succeeded:
                raise RevisionMismatch(key, expected_revision, _first(response))
            answer = response.responses[0].response_delete_range
        else:
            response = answer = await self.call(self._delete, request)
        if not answer.prev_kvs:
            return None
        r = record_of(answer.prev_kvs[0])
        return Record(r.key, r.value, response.header.revision, r.create_revision, r.version, r.lease)

    def watch(self, prefix: str, *, start_revision: int, buffer: int = 10_000) -> EtcdWatch:
        create = message("WatchCreateRequest")(
            key=bytes_of(prefix) or b"\0",
            range_end=end_of(prefix, prefix_end(prefix)),
            start_revision=start_revision,
            prev_kv=True,
        )
        return EtcdWatch(self._watch(), message("WatchRequest")(create_request=create))

    async def grant_lease(self, ttl_seconds: int, *, lease: int = 0) -> int:
        granted = await self.call(self._grant, message("LeaseGrantRequest")(TTL=ttl_seconds, ID=lease))
        return int(granted.ID)

    async def keep_alive(self, lease: int) -> int:
        call = self._keep_alive()
        await call.write(message("LeaseKeepAliveRequest")(ID=lease))
        ttl = int((await call.read()).TTL)
        await call.done_writing()
        if ttl <= 0:
            raise LeaseNotFound(str(lease))
        return ttl

    async def revoke_lease(self, lease: int) -> None:
        await self.call(self._revoke, message("LeaseRevokeRequest")(ID=lease))

    async def lease_status(self, lease: int) -> LeaseStatus:
        found = await self.call(self._ttl, message("LeaseTimeToLiveRequest")(ID=lease, keys=True))
        return LeaseStatus(found.ID, found.grantedTTL, found.TTL, [text_of(key) for key in found.keys])

    async def compact(self, revision: int) -> None:
        await self.call(self._compact, message("CompactionRequest")(revision=revision), asked=revision)

    async def snapshot(self, path: Path) -> None:
        chunks = [chunk.blob async for chunk in self._snapshot(message("SnapshotRequest")())]
        await asyncio.to_thread(path.write_bytes, b"".join(chunks)[:-32])

    async def close(self) -> None:
        await self.served.close()

    async def transact(self, transaction: Transaction, *, client: str = "") -> Plan:
        response = await self.call(self._txn, _txn_request(transaction))
        return _plan(transaction, response)

    def _put(self, key: str, value: bytes, lease: int) -> Any:
        return message("PutRequest")(key=bytes_of(key), value=value, lease=lease)

    async def _guarded(self, key: str, revision: int, operation: dict[str, Any]) -> Record | None:
        response = await self._optimistic(key, revision, operation)
        return None if response.succeeded else _first(response)

    async def _optimistic(self, key: str, revision: int, operation: dict[str, Any]) -> Any:
        """What kube-apiserver does: If(mod revision) Then(change) Else(get)."""
        compare = message("Compare")(key=bytes_of(key), target=2, mod_revision=revision)
        get = message("RequestOp")(request_range=message("RangeRequest")(key=bytes_of(key)))
        change = message("RequestOp")(**operation)
        return await self.call(self._txn, message("TxnRequest")(compare=[compare], success=[change], failure=[get]))


def _first(response: Any) -> Record | None:
    kvs = response.responses[0].response_range.kvs
    return record_of(kvs[0]) if kvs else None


def _txn_request(transaction: Transaction) -> Any:
    return message("TxnRequest")(
        compare=[_compare(compare) for compare in transaction.compares],
        success=[_request_op(operation) for operation in transaction.success],
        failure=[_request_op(operation) for operation in transaction.failure],
    )


def _compare(compare: Compare) -> Any:
    return message("Compare")(
        key=bytes_of(compare.start),
        range_end=end_of(compare.start, compare.end),
        target=_TARGETS[compare.target.value],
        result=_RELATIONS[compare.relation.value],
        **{compare.target.value: compare.operand},
    )


def _request_op(operation: Operation) -> Any:
    op = message("RequestOp")
    match operation:
        case Put(key=key, value=value, lease=lease):
            put = message("PutRequest")(
                key=bytes_of(key),
                value=value or b"",
                lease=lease or 0,
                ignore_value=value is None,
                ignore_lease=lease is None,
                prev_kv=True,
            )
            return op(request_put=put)
        case Delete(start=start, end=end):
            deletion = message("DeleteRangeRequest")(key=bytes_of(start), range_end=end_of(start, end), prev_kv=True)
            return op(request_delete_range=deletion)
        case Scan(start=start, end=end, revision=revision):
            scan = message("RangeRequest")(key=bytes_of(start), range_end=end_of(start, end), revision=revision)
            return op(request_range=scan)
        case Transaction():
            return op(request_txn=_txn_request(operation))


def _plan(transaction: Transaction, response: Any) -> Plan:
    operations = transaction.success if response.succeeded else transaction.failure
    steps: list[Step | Plan] = []
    for operation, answer in zip(operations, response.responses, strict=True):
        if isinstance(operation, Transaction):
            steps.append(_plan(operation, answer.response_txn))
            continue
        step = Step(operation)
        if isinstance(operation, Scan):
            found = answer.response_range
            step.found = RangeResult(
                [record_of(kv) for kv in found.kvs], found.header.revision, found.count, found.more
            )
        elif isinstance(operation, Delete):
            previous = [record_of(kv) for kv in answer.response_delete_range.prev_kvs]
            step.writes = [Write(r.key, None, 0, r) for r in previous]
        steps.append(step)
    return Plan(response.succeeded, steps, response.header.revision)
