"""Streaming subresources: pods/log, exec, attach, portforward, and proxy of pods, services and nodes."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import ssl
from pathlib import Path

from aiohttp import web

from minikube_py.client.tls import client_context, files_context
from minikube_py.components.apiserver.http.call import Call, Response
from minikube_py.components.apiserver.http.discovery import no_such_resource
from minikube_py.components.apiserver.http.negotiation import SERVED, check_produced
from minikube_py.components.apiserver.registry.core import Core
from minikube_py.components.apiserver.settings import KubeletTls
from minikube_py.components.apiserver.streaming import targets
from minikube_py.components.apiserver.streaming.passing import pass_on
from minikube_py.components.apiserver.streaming.relay import relay_upgrade, wants_upgrade
from minikube_py.host.tls import begins, ignore_times
from minikube_py.machinery.errors import ApiError, bad_request, go_quote, service_unavailable
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import Object

_LOGS = ("text/plain", *SERVED)
_SLICE_SERVICE = "kubernetes.io/service-name"


class KubeletStreams:
    """Implements ``http.dispatch.Streams``. The TLS context for kubelets is made on first use."""

    def __init__(self, core: Core, tls: KubeletTls | None) -> None:
        self._core = core
        self._files = tls
        self._context: ssl.SSLContext | None = None

    async def answer(self, kind: Kind, call: Call) -> Response:
        plural, subresource = kind.resource.plural, call.info.subresource
        if subresource == "proxy":
            if plural == "pods":
                return await self._proxy_pod(kind, call)
            if plural == "services":
                return await self._proxy_service(kind, call)
            return await self._proxy_node(kind, call)
        if subresource == "log":
            check_produced(call.accept, _LOGS)
        pod = self._core.entry(kind, call.info.namespace, call.info.name).object
        if subresource == "log":
            return await self._log(pod, call)
        target = targets.stream_target(pod, subresource, call.request.query_string)
        node = targets.node_of(pod)
        if not wants_upgrade(call.request):
            raise bad_request("Upgrade request required")
        host, port = await self._kubelet(node)
        await call.started(101)
        return await relay_upgrade(call.request, host, port, target, await self._tls())

    async def _log(self, pod: Object, call: Call) -> Response:
        target = targets.log_target(pod, call.query)
        if not (pod.get("spec") or {}).get("nodeName"):
            return web.Response(status=204)
        host, port = await self._kubelet(targets.node_of(pod))
        as_messages = wants_upgrade(call.request) and call.request.headers["Upgrade"].lower() == "websocket"
        if call.info.long_running:
            await call.started(101 if as_messages else 200)
        tls = await self._tls()
        return await pass_on(call.request, host, port, target, tls, with_body=False, as_messages=as_messages)

    async def _proxy_pod(self, kind: Kind, call: Call) -> Response:
        scheme, name, port_text = targets.split_target(call.info.name, "pod")
        pod = self._core.entry(kind, call.info.namespace, name).object
        host = str((pod.get("status") or {}).get("podIP") or "")
        if not host:
            raise bad_request("address not allowed")
        port = targets.pod_port(pod, port_text)
        return await self._proxy(call, host, port, insecure=scheme == "https")

    async def _proxy_service(self, kind: Kind, call: Call) -> Response:
        scheme, name, port_text = targets.split_target(call.info.name)
        namespace = call.info.namespace
        service = self._core.entry(kind, namespace, name).object
        port_name = targets.service_port_name(service, port_text)
        host, port = self._endpoint(namespace, name, port_name)
        return await self._proxy(call, host, port, insecure=scheme == "https")

    def _endpoint(self, namespace: str, service: str, port_name: str) -> tuple[str, int]:
        """A ready endpoint of a service's port, chosen at random. ApiError 503 when there is none."""
        slices = self._core.kinds.get("discovery.k8s.io", "v1", "endpointslices")
        if slices is None:
            raise no_such_resource()
        found: list[tuple[str, int]] = []
        for entry in self._core.cache(slices).unordered(namespace):
            if entry.labels.get(_SLICE_SERVICE) != service:
                continue
            ports = [port["port"] for port in entry.object.get("ports") or () if (port.get("name") or "") == port_name]
            for endpoint in entry.object.get("endpoints") or ():
                if (endpoint.get("conditions") or {}).get("ready") is False:
                    continue
                found += [(str(address), int(port)) for address in endpoint.get("addresses") or () for port in ports]
        if not found:
            raise service_unavailable(f"no endpoints available for service {go_quote(service)}")
        return random.choice(found)

    async def _proxy_node(self, kind: Kind, call: Call) -> Response:
        _, name, port_text = targets.split_target(call.info.name, "node")
        node = self._core.entry(kind, "", name).object
        host, port = targets.kubelet_address(node)
        if port_text and port_text != str(port):
            return await self._proxy(call, host, int(port_text), insecure=False)
        return await self._carry(call, host, port, await self._tls())

    async def _proxy(self, call: Call, host: str, port: int, *, insecure: bool) -> Response:
        address = ipaddress.ip_address(host)
        if address.is_loopback or address.is_link_local:
            raise ApiError(403, "Forbidden", f"address not allowed: {host}")
        return await self._carry(call, host, port, client_context(insecure=True) if insecure else None)

    async def _carry(self, call: Call, host: str, port: int, tls: ssl.SSLContext | None) -> Response:
        request = call.request
        seen, _, rest = request.raw_path.partition("?")[0].partition("/proxy")
        query = f"?{request.query_string}" if request.query_string else ""
        if not rest and request.method in ("GET", "HEAD") and not wants_upgrade(request):
            # links in the backend's pages are relative to a folder
            return web.Response(status=301, headers={"Location": f"{seen}/proxy/{query}"})
        target = (rest or "/") + query
        await call.started(101 if wants_upgrade(request) else 200)
        if wants_upgrade(request):
            return await relay_upgrade(request, host, port, target, tls)
        return await pass_on(request, host, port, target, tls, prefix=f"{seen}/proxy")

    async def _kubelet(self, node_name: str) -> tuple[str, int]:
        nodes = self._core.kinds.get("", "v1", "nodes")
        if nodes is None:
            raise no_such_resource()
        return targets.kubelet_address(self._core.entry(nodes, "", node_name).object)

    def forget_credentials(self) -> None:
        """Read certificate and CA again before the next connection to a kubelet."""
        self._context = None

    async def _tls(self) -> ssl.SSLContext:
        files = self._files
        if files is None:
            raise service_unavailable("this server has no credentials for kubelets")
        if self._context is None:
            now = self._core.clock.now()
            self._context = await asyncio.to_thread(kubelet_context, files, now)
        return self._context


def kubelet_context(files: KubeletTls, now: float) -> ssl.SSLContext:
    """What the API server shows to kubelets and believes of them. Blocks. Raises OSError, ValueError.

    ``now`` (Unix seconds) before the beginning of our own certificate means that the clock is behind.
    """
    context = files_context(files.ca_file, files.cert_file, files.key_file)
    if now < begins(Path(files.cert_file)):
        ignore_times(context)
    return context
