"""etcd's KV service."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError

from minikube_py.datastore.etcd import errors
from minikube_py.datastore.etcd.keys import text_of
from minikube_py.datastore.etcd.messages import message
from minikube_py.datastore.etcd.ranges import Identity, RangeEncoder, check_range, framed, key_value, scan_of
from minikube_py.datastore.etcd.transactions import (
    deletion_of,
    deletion_response,
    put_of,
    put_response,
    transaction_of,
    transaction_response,
)
from minikube_py.datastore.etcd.transport import Call
from minikube_py.datastore.transactions import Plan, Reply, Step, Transaction, TransactionalStore
from minikube_py.datastore.types import Change, DatastoreError

PutRequest = message("PutRequest")
CompactionResponse = message("CompactionResponse")
MAX_REQUEST_BYTES = 3 << 19  # etcd's default --max-request-bytes, 1.5 MiB

PREVIOUS_TAG = bytes([2 << 3 | 2])  # PutResponse.prev_kv
_UNNAMED = "etcd client"


class KeyValueService:
    """Handlers; each raises EtcdError or a store's error."""

    def __init__(self, store: TransactionalStore, identity: Identity) -> None:
        self._store = store
        self._identity = identity
        self._ranges = RangeEncoder()

    async def range(self, request: Any, call: Call) -> Any:
        check_range(request)
        scan = scan_of(request)
        found = await self._store.scan(
            scan.start,
            scan.end,
            revision=scan.revision,
            limit=scan.limit,
            keys_only=scan.keys_only,
            count_only=scan.count_only,
        )
        return self._ranges.response(request, found, self._identity)

    async def put(self, request: Any, call: Call) -> Any:
        _check_size(request)
        client = call.client or _UNNAMED
        if request.ignore_value or request.ignore_lease or not request.key:
            plan = await self._store.transact(Transaction(success=(put_of(request),)), client=client)
            return put_response(request, _first_step(plan), self._identity.header(plan.revision))
        change = await self._store.put(text_of(request.key), request.value, lease=request.lease, client=client)
        head = self._identity.encoded_header(change.revision)
        if request.prev_kv and change.previous is not None:
            return head + framed(PREVIOUS_TAG, key_value(change.previous).SerializeToString())
        return head

    def begin_put(self, data: bytes, call: Call, reply: Reply) -> bool:
        """``put`` without a task (see ``transport.Shortcut``), of all but the rare kinds."""
        try:
            request = PutRequest.FromString(data)
        except DecodeError:
            return False
        key = request.key
        if not key or request.ignore_value or request.ignore_lease or request.prev_kv:
            return False
        if len(data) > MAX_REQUEST_BYTES:
            raise errors.request_too_large()
        try:
            return self._store.begin_put(
                text_of(key), request.value, reply, lease=request.lease, client=call.client or _UNNAMED
            )
        except DatastoreError as failure:
            raise errors.translated(failure) from failure

    def answer_put(self, change: Change) -> bytes:
        return self._identity.encoded_header(change.record.mod_revision)

    async def delete_range(self, request: Any, call: Call) -> Any:
        _check_size(request)
        deletion = Transaction(success=(deletion_of(request),))
        plan = await self._store.transact(deletion, client=call.client or _UNNAMED)
        return deletion_response(request, _first_step(plan), self._identity.header(plan.revision))

    async def txn(self, request: Any, call: Call) -> Any:
        _check_size(request)
        plan = await self._store.transact(transaction_of(request), client=call.client or _UNNAMED)
        return transaction_response(request, plan, self._identity.header(plan.revision))

    async def compact(self, request: Any, call: Call) -> Any:
        """``physical`` or not: the answer comes when the space is free again."""
        await self._store.compact(request.revision)
        return CompactionResponse(header=self._identity.header(self._store.current_revision))


def _first_step(plan: Plan) -> Step:
    step = plan.steps[0]
    assert isinstance(step, Step)  # the transaction was one operation, not a transaction in a transaction
    return step


def _check_size(request: Any) -> None:
    if request.ByteSize() > MAX_REQUEST_BYTES:
        raise errors.request_too_large()
