"""etcd's KV service."""

from __future__ import annotations

from typing import Any

from minikube_py.datastore.etcd import errors
from minikube_py.datastore.etcd.messages import message
from minikube_py.datastore.etcd.ranges import Identity, RangeEncoder, check_range, scan_of
from minikube_py.datastore.etcd.transactions import (
    deletion_of,
    deletion_response,
    put_of,
    put_response,
    transaction_of,
    transaction_response,
)
from minikube_py.datastore.transactions import Operation, Plan, Step, Transaction, TransactionalStore

CompactionResponse = message("CompactionResponse")
MAX_REQUEST_BYTES = 3 << 19  # etcd's default --max-request-bytes, 1.5 MiB

_REMEMBERED_PEERS = 1024


class KeyValueService:
    """Handlers; each raises EtcdError or a store's error."""

    def __init__(self, store: TransactionalStore, identity: Identity) -> None:
        self._store = store
        self._identity = identity
        self._clients: dict[str, str] = {}
        self._ranges = RangeEncoder()

    async def range(self, request: Any, context: Any) -> Any:
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
        return self._ranges.response(request, found, self._identity.header(found.revision))

    async def put(self, request: Any, context: Any) -> Any:
        plan = await self._single(request, put_of(request), context)
        return put_response(request, _first_step(plan), self._identity.header(plan.revision))

    async def delete_range(self, request: Any, context: Any) -> Any:
        plan = await self._single(request, deletion_of(request), context)
        return deletion_response(request, _first_step(plan), self._identity.header(plan.revision))

    async def txn(self, request: Any, context: Any) -> Any:
        _check_size(request)
        plan = await self._store.transact(transaction_of(request), client=self._client(context))
        return transaction_response(request, plan, self._identity.header(plan.revision))

    async def compact(self, request: Any, context: Any) -> Any:
        """``physical`` or not: the answer comes when the space is free again."""
        await self._store.compact(request.revision)
        return CompactionResponse(header=self._identity.header(self._store.current_revision))

    async def _single(self, request: Any, operation: Operation, context: Any) -> Plan:
        _check_size(request)
        return await self._store.transact(Transaction(success=(operation,)), client=self._client(context))

    def _client(self, context: Any) -> str:
        """``client_of``, remembered for each connection."""
        peer = context.peer()
        known = self._clients.get(peer)
        if known is None:
            if len(self._clients) >= _REMEMBERED_PEERS:
                self._clients.clear()
            known = self._clients[peer] = client_of(context)
        return known


def _first_step(plan: Plan) -> Step:
    step = plan.steps[0]
    assert isinstance(step, Step)  # the transaction was one operation, not a transaction in a transaction
    return step


def _check_size(request: Any) -> None:
    if request.ByteSize() > MAX_REQUEST_BYTES:
        raise errors.request_too_large()


def client_of(context: Any) -> str:
    """Who asks, for the accounting of churn: the certificate's common name, else the user agent."""
    names = context.auth_context().get("x509_common_name")
    if names:
        return str(names[0].decode("utf-8", "replace"))
    for name, value in context.invocation_metadata() or ():
        if name == "user-agent":
            return str(value)
    return "etcd client"
