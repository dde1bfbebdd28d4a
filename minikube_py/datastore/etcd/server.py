"""etcd's services by their gRPC paths, on a TCP or unix socket, with or without TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

from google.protobuf.message import DecodeError

from minikube_py.datastore.etcd import maintenance as upkeep
from minikube_py.datastore.etcd.errors import answering, translated
from minikube_py.datastore.etcd.kv import KeyValueService
from minikube_py.datastore.etcd.lease import LeaseService
from minikube_py.datastore.etcd.maintenance import MaintenanceService
from minikube_py.datastore.etcd.messages import message
from minikube_py.datastore.etcd.ranges import Identity
from minikube_py.datastore.etcd.transport import (
    Call,
    Code,
    Method,
    Shortcut,
    StatusError,
    Streaming,
    Unary,
    serve,
)
from minikube_py.datastore.etcd.watch import WatchService
from minikube_py.datastore.transactions import TransactionalStore
from minikube_py.machinery.clock import Clock

_AUTH_METHODS = (
    *("AuthEnable", "AuthDisable", "Authenticate", "UserAdd", "UserGet", "UserList", "UserDelete"),
    *("UserChangePassword", "UserGrantRole", "UserRevokeRole", "RoleAdd", "RoleGet", "RoleList", "RoleDelete"),
    *("RoleGrantPermission", "RoleRevokePermission"),
)
_SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse{status: SERVING}


class _EventLoopClock:
    """``Clock`` for the periodic progress notifications."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def run_server(
    store: TransactionalStore,
    *,
    listen: str,
    tls: ssl.SSLContext | None,
    ready: Callable[[], None],
    bound: Callable[[str], None] | None = None,
    clock: Clock | None = None,
) -> None:
    """See ``serve_etcd``."""
    methods: dict[str, Method] = {}

    def serving(address: str) -> None:
        scheme = "https" if tls else "http"
        url = address if address.startswith("unix:") else f"{scheme}://{address}"
        methods.update(_methods(store, Identity(), url, clock or _EventLoopClock()))
        if bound is not None:
            bound(address)
        ready()

    try:
        await serve(methods, listen=listen, tls=tls, bound=serving)
    except OSError as failure:
        raise OSError(failure.errno, f"etcd interface: cannot listen on {listen}: {failure}") from failure


def _methods(store: TransactionalStore, identity: Identity, url: str, clock: Clock) -> dict[str, Method]:
    kv, leases = KeyValueService(store, identity), LeaseService(store, identity)
    maintenance, watches = MaintenanceService(store, identity, url), WatchService(store, identity, clock)
    services: dict[str, dict[str, Method]] = {
        "etcdserverpb.KV": {
            "Range": _unary("RangeRequest", kv.range),
            "Put": replace(_unary("PutRequest", kv.put), shortcut=Shortcut(kv.begin_put, kv.answer_put, translated)),
            "DeleteRange": _unary("DeleteRangeRequest", kv.delete_range),
            "Txn": _unary("TxnRequest", kv.txn),
            "Compact": _unary("CompactionRequest", kv.compact),
        },
        "etcdserverpb.Watch": {"Watch": _stream("WatchRequest", watches.watch)},
        "etcdserverpb.Lease": {
            "LeaseGrant": _unary("LeaseGrantRequest", leases.grant),
            "LeaseRevoke": _unary("LeaseRevokeRequest", leases.revoke),
            "LeaseKeepAlive": _stream("LeaseKeepAliveRequest", leases.keep_alive),
            "LeaseTimeToLive": _unary("LeaseTimeToLiveRequest", leases.time_to_live),
            "LeaseLeases": _unary("LeaseLeasesRequest", leases.leases),
        },
        "etcdserverpb.Maintenance": {
            "Alarm": _unary("AlarmRequest", maintenance.alarm),
            "Status": _unary("StatusRequest", maintenance.status),
            "Defragment": _unary("DefragmentRequest", maintenance.defragment),
            "Hash": _unary("HashRequest", maintenance.hash),
            "HashKV": _unary("HashKVRequest", maintenance.hash_kv),
            "Snapshot": _stream("SnapshotRequest", maintenance.snapshot),
            "MoveLeader": _unary("MoveLeaderRequest", upkeep.refuse_move_leader),
            "Downgrade": _unary("DowngradeRequest", upkeep.refuse_downgrade),
        },
        "etcdserverpb.Cluster": {
            "MemberList": _unary("MemberListRequest", maintenance.member_list),
            "MemberAdd": _unary("MemberAddRequest", upkeep.refuse_member_add),
            "MemberRemove": _unary("MemberRemoveRequest", upkeep.refuse_member_change),
            "MemberUpdate": _unary("MemberUpdateRequest", upkeep.refuse_member_change),
            "MemberPromote": _unary("MemberPromoteRequest", upkeep.refuse_member_change),
        },
        "etcdserverpb.Auth": {
            "AuthStatus": _raw(maintenance.auth_status),
            **{name: _raw(upkeep.refuse_auth) for name in _AUTH_METHODS},
        },
        "grpc.health.v1.Health": {"Check": _raw(_healthy)},
    }
    return {f"/{service}/{name}": method for service, methods in services.items() for name, method in methods.items()}


def _unary(request: str, handler: Callable[[Any, Call], Awaitable[Any]]) -> Unary:
    parse, guarded = message(request).FromString, answering(handler)

    async def serve_one(data: bytes, call: Call) -> bytes:
        return _serialized(await guarded(_parsed(parse, data), call))

    return Unary(serve_one)


def _raw(handler: Callable[[Any, Call], Awaitable[Any]]) -> Unary:
    """A method whose request is not looked at."""

    async def serve_one(data: bytes, call: Call) -> bytes:
        return _serialized(await handler(data, call))

    return Unary(answering(serve_one))


def _stream(request: str, handler: Callable[[AsyncIterator[Any], Call], Awaitable[None]]) -> Streaming:
    parse, guarded = message(request).FromString, answering(handler)

    async def serve_many(call: Call) -> None:
        await guarded((_parsed(parse, data) async for data in call.messages()), call)

    return Streaming(serve_many)


def _parsed(parse: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return parse(data)
    except DecodeError as failure:
        raise StatusError(Code.INTERNAL, f"grpc: error unmarshalling request: {failure}") from failure


async def _healthy(request: Any, call: Call) -> bytes:
    return _SERVING


def _serialized(response: Any) -> bytes:
    if isinstance(response, bytes):  # encoded by its handler
        return response
    data: bytes = response.SerializeToString()
    return data
