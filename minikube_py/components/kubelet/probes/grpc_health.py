"""One call of the gRPC health protocol, over the channel that also speaks to the runtime.

The protocol's two messages are one string and one enum; ``machinery.wire`` is enough for them.
"""

from __future__ import annotations

from minikube_py.components.kubelet.runtime.rpc.channel import Channel, RpcError
from minikube_py.machinery import wire

SERVING = 1
STATUS_NAMES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_METHOD = "/grpc.health.v1.Health/Check"


async def health_status(host: str, port: int, service: str, *, user_agent: str, timeout_seconds: float) -> int:
    """The status number that the server gives for ``service`` ("" means the server itself).

    Raises RpcError: ``UNAVAILABLE`` when there is no connection, ``DEADLINE_EXCEEDED``, and what the server refuses.
    """
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    family = "ipv6" if ":" in host else "ipv4"
    channel = Channel(f"{family}:{address}", authority=address, user_agent=user_agent)
    try:
        request = wire.delimited(1, service.encode()) if service else b""
        answer = await channel.unary(_METHOD, request, timeout_seconds=timeout_seconds)
    finally:
        await channel.close()
    try:
        return next((value for number, _, value in wire.fields(answer) if number == 1 and isinstance(value, int)), 0)
    except wire.WireError as error:
        raise RpcError("INTERNAL", str(error)) from error
