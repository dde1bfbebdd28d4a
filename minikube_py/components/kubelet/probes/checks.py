"""One check of each kind (exec, http, tcp, grpc), shared by probes and lifecycle hooks.

A check returns a ``Result``; nothing is raised for a container that answers wrongly or not at all.
Texts are those of ``pkg/probe``. HTTP follows Kubernetes' rules: 200-399 is success, certificates
are not verified, redirects to other hosts are not followed (a warning), no connection is reused.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from minikube_py.components.kubelet.runtime.types import Runtime, RuntimeFailure
from minikube_py.machinery.objects import Object

if TYPE_CHECKING:
    import aiohttp

longest_body_bytes = 10 * 1024
most_redirects = 10


class Outcome(Enum):
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Result:
    outcome: Outcome
    text: str = ""

    @property
    def passed(self) -> bool:
        return self.outcome is not Outcome.FAILURE


@dataclass(frozen=True, slots=True)
class Target:
    """A container to be checked."""

    container_id: str
    pod_ip: str
    ports: Mapping[str, int]
    """Named container ports."""


def named_ports(container: Object) -> dict[str, int]:
    return {item["name"]: item["containerPort"] for item in container.get("ports") or () if item.get("name")}


def port_number(value: int | str, ports: Mapping[str, int]) -> int | None:
    """A port given by number or name; None for an unknown name or a number out of range."""
    if isinstance(value, str) and not value.isdigit():
        return ports.get(value)
    number = int(value)
    return number if 0 < number < 65536 else None


class Checker:
    """Carries out checks; ``close`` ends its HTTP session."""

    def __init__(self, runtime: Runtime, user_agent: str = "kube-probe/1.36") -> None:
        self._runtime = runtime
        self._agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    async def check(self, handler: Object, target: Target, timeout_seconds: float) -> Result:
        """Carry out the handler of a probe or hook (``exec``, ``httpGet``, ``tcpSocket``, ``grpc``)."""
        if "exec" in handler:
            return await self._exec(handler["exec"].get("command") or (), target, timeout_seconds)
        if "httpGet" in handler:
            return await self._http(handler["httpGet"], target, timeout_seconds)
        if "tcpSocket" in handler:
            return await self._tcp(handler["tcpSocket"], target, timeout_seconds)
        if "grpc" in handler:
            return await self._grpc(handler["grpc"], target, timeout_seconds)
        return Result(Outcome.FAILURE, "missing probe handler")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _exec(self, command: Sequence[str], target: Target, timeout: float) -> Result:
        try:
            done = await self._runtime.exec_sync(target.container_id, command, timeout_seconds=timeout)
        except RuntimeFailure as failure:
            if failure.code == "DEADLINE_EXCEEDED":
                return Result(Outcome.FAILURE, f"command timed out: {failure.message}")
            return Result(Outcome.FAILURE, failure.message)
        text = (done.stdout + done.stderr)[:longest_body_bytes].decode(errors="replace")
        return Result(Outcome.SUCCESS if done.exit_code == 0 else Outcome.FAILURE, text)

    async def _tcp(self, action: Object, target: Target, timeout: float) -> Result:
        port = port_number(action["port"], target.ports)
        if port is None:
            return Result(Outcome.FAILURE, f"invalid port: {action['port']}")
        host = action.get("host") or target.pod_ip
        try:
            async with asyncio.timeout(timeout):
                _, writer = await asyncio.open_connection(host, port)
        except TimeoutError:
            return Result(Outcome.FAILURE, f"dial tcp {_address(host, port)}: i/o timeout")
        except OSError as error:
            return Result(Outcome.FAILURE, f"dial tcp {_address(host, port)}: connect: {_reason(error)}")
        writer.transport.abort()
        return Result(Outcome.SUCCESS)

    async def _http(self, action: Object, target: Target, timeout: float) -> Result:
        import aiohttp
        from yarl import URL

        port = port_number(action["port"], target.ports)
        if port is None:
            return Result(Outcome.FAILURE, f"invalid port: {action['port']}")
        host = action.get("host") or target.pod_ip
        scheme = (action.get("scheme") or "HTTP").lower()
        path = action.get("path") or "/"
        url = URL(f"{scheme}://{_address(host, port)}{path if path.startswith('/') else '/' + path}")
        headers = {"User-Agent": self._agent, "Accept": "*/*", "Connection": "close"}
        for item in action.get("httpHeaders") or ():
            if item.get("value") == "" and item["name"] in ("Accept", "User-Agent"):
                headers.pop(item["name"], None)
            else:
                headers[item["name"]] = item.get("value") or ""
        try:
            async with asyncio.timeout(timeout):
                return await self._get(url, headers)
        except TimeoutError:
            text = f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
            return Result(Outcome.FAILURE, text)
        except aiohttp.ClientConnectorError as error:
            text = f'Get "{url}": dial tcp {_address(host, port)}: connect: {_reason(error.os_error)}'
            return Result(Outcome.FAILURE, text)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Result(Outcome.FAILURE, f'Get "{url}": {error}')

    async def _get(self, url: object, headers: Mapping[str, str]) -> Result:
        from yarl import URL

        session = self._http_session()
        current = URL(str(url))
        for _ in range(most_redirects + 1):
            async with session.get(current, headers=headers, allow_redirects=False, ssl=False) as response:
                body = await response.content.read(longest_body_bytes)
                location = response.headers.get("Location")
                if response.status in (301, 302, 303, 307, 308) and location:
                    following = current.join(URL(location))
                    if following.host != current.host:
                        return Result(
                            Outcome.WARNING,
                            f"Probe terminated redirects, Response body: {body.decode(errors='replace')}",
                        )
                    current = following
                    continue
                if 200 <= response.status < 400:
                    return Result(Outcome.SUCCESS, body.decode(errors="replace"))
                return Result(Outcome.FAILURE, f"HTTP probe failed with statuscode: {response.status}")
        return Result(Outcome.FAILURE, f'Get "{current}": stopped after {most_redirects} redirects')

    def _http_session(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            connector = aiohttp.TCPConnector(force_close=True, limit=0, use_dns_cache=False)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("Accept-Encoding", "User-Agent", "Accept"),
            )
        return self._session

    async def _grpc(self, action: Object, target: Target, timeout: float) -> Result:
        from minikube_py.components.kubelet.probes.grpc_health import SERVING, STATUS_NAMES, health_status
        from minikube_py.components.kubelet.runtime.rpc.channel import RpcError

        port, service = int(action["port"]), str(action.get("service") or "")
        address = _address(target.pod_ip, port)
        try:
            status = await health_status(target.pod_ip, port, service, user_agent=self._agent, timeout_seconds=timeout)
        except TimeoutError:
            return Result(Outcome.FAILURE, _grpc_failure("DEADLINE_EXCEEDED", "", address, timeout))
        except OSError as error:
            return Result(Outcome.FAILURE, _grpc_failure("UNAVAILABLE", _reason(error), address, timeout))
        except RpcError as error:
            return Result(Outcome.FAILURE, _grpc_failure(error.code, error.message, address, timeout))
        if status == SERVING:
            return Result(Outcome.SUCCESS, "service healthy")
        name = STATUS_NAMES.get(status, str(status))
        return Result(Outcome.FAILURE, f'service unhealthy (responded with "{name}")')


def _grpc_failure(code: str, details: str, address: str, timeout: float) -> str:
    if code == "UNIMPLEMENTED":
        return f"error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {details}"
    if code == "DEADLINE_EXCEEDED":
        return f"timeout: health rpc did not complete within {timeout:g}s"
    if code == "UNAVAILABLE":
        return f'timeout: failed to connect service "{address}" within {timeout:g}s: {details}'
    return f"error: health rpc probe failed: {details}"


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: OSError) -> str:
    """The system's reason as Go prints it: lower-case, without number or address."""
    return (os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)).lower()
