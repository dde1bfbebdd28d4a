"""Composes the node half of a process: container runtime, pod network, kubelet, proxy, DNS.

Everything here talks to the API through a ``Client`` only, so the same list serves a node inside
the server's process (``server``) and one on another host (``worker``). Start order: containerd needs
nothing; the kubelet needs it and the API; the network waits for the node's pod range; proxy and DNS
start after the node is Ready, so that they do not slow it down.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minikube_py import config
from minikube_py.client.types import Client, EventRecorder
from minikube_py.config import ConfigError, ServerSettings
from minikube_py.machinery.clock import Clock
from minikube_py.supervisor import Component, Ready

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from minikube_py.components.kubelet.runtime.containerd_config import ContainerdSettings
    from minikube_py.components.kubelet.settings import KubeletSettings
    from minikube_py.components.network import NetworkSettings
    from minikube_py.pki.authorities import KeyPair

DNS_SERVICE = ("kube-system", "kube-dns")


class NodeError(Exception):
    """Something about this node that the user must mend; the text is one line."""


@dataclass(frozen=True, slots=True)
class NodeApiFiles:
    """What the node API shows, and by which CAs it knows the API server."""

    serving: KeyPair
    client_ca: Path


@dataclass(frozen=True, slots=True)
class Node:
    """What the node's components share. ``registry`` has the metrics of proxy and DNS; the node API shows them."""

    settings: ServerSettings
    client: Client
    recorder: EventRecorder
    proxy_client: Client
    files: NodeApiFiles
    clock: Clock
    registry: CollectorRegistry


def containerd_settings_of(settings: ServerSettings) -> ContainerdSettings:
    """Where this server's containerd keeps its things."""
    from minikube_py.components.kubelet.runtime.containerd_config import containerd_settings

    return containerd_settings(
        Path(settings.data_dir).resolve(), config.run_dir(settings).resolve(), snapshotter=settings.snapshotter
    )


def runtime_endpoint(settings: ServerSettings) -> str:
    """The CRI socket to talk to."""
    given = settings.container_runtime_endpoint
    if given:
        return given if "://" in given else f"unix://{given}"
    return f"unix://{containerd_settings_of(settings).socket}"


def runtime_component(settings: ServerSettings, clock: Clock) -> Component:
    """Our own containerd, or a check that the given runtime answers; before its first start, a look at the machine."""
    looked = False

    async def look_once() -> None:
        nonlocal looked
        if not looked:  # later the kubelet of this process has its port
            await asyncio.to_thread(_check_machine, settings)
            looked = True

    async def own(ready: Ready) -> None:
        from minikube_py.components.kubelet.runtime.containerd import run_containerd

        await look_once()
        await run_containerd(containerd_settings_of(settings), clock, ready)

    async def given(ready: Ready) -> None:
        from minikube_py.components.kubelet.runtime.cri import CriRuntime
        from minikube_py.components.kubelet.runtime.types import RuntimeFailure

        await look_once()
        endpoint = runtime_endpoint(settings)
        runtime = CriRuntime(endpoint, clock)
        try:
            await runtime.version()
        except RuntimeFailure as error:
            cause = f"no CRI runtime answers at {endpoint}; start it, or give another endpoint ({error.message})"
            raise ConfigError(f"--container-runtime-endpoint: {cause}") from error
        finally:
            await runtime.close()
        ready()
        await asyncio.get_running_loop().create_future()

    return Component("containerd", given if settings.container_runtime_endpoint else own, vital=True)


def _check_machine(settings: ServerSettings) -> None:
    """Whether this machine can be a node: its kernel, where that is asked for, the logs' folder, the node API's port.

    Raises ConfigError. Done here because the kubelet starts late, and is retried when it fails.
    """
    from minikube_py.components.kubelet.node.kernel_defaults import wrong_kernel_settings

    wrong = wrong_kernel_settings() if settings.protect_kernel_defaults else ()
    if wrong:
        raise ConfigError(f"--protect-kernel-defaults: {', '.join(wrong)}; set them in /etc/sysctl.d")
    logs = config.pod_logs_dir(settings)
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--pod-logs-dir: cannot make folder {logs}: {error.strerror}") from error
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", settings.kubelet_port))
        except OSError as error:
            text = f"--kubelet-port: cannot listen on port {settings.kubelet_port}: {error.strerror}"
            raise ConfigError(f"{text}; stop the program that has it or choose another port") from error


def node_components(settings: ServerSettings, node: Callable[[], Node], api: str = "apiserver") -> list[Component]:
    """Everything but the runtime, in start order; ``node`` is called once the component ``api`` is ready."""
    components: list[Component] = []
    if "network" not in settings.disable:  # else the administrator brings a CNI configuration of their own
        components.append(Component("network", lambda ready: _network(node(), ready), needs=(api,)))
    components.append(Component("kubelet", lambda ready: _kubelet(node(), ready), needs=(api, "containerd")))
    if "local-storage" not in settings.disable:
        components.append(Component("local-storage", lambda ready: _local_storage(node(), ready), needs=("kubelet",)))
    if "proxy" not in settings.disable:
        components.append(Component("proxy", lambda ready: _proxy(node(), ready), needs=("kubelet",)))
    if "dns" not in settings.disable:
        components.append(Component("dns", lambda ready: _dns(node(), ready), needs=("kubelet",)))
    return components


def kubelet_settings(settings: ServerSettings, files: NodeApiFiles) -> KubeletSettings:
    """The kubelet's own record."""
    from minikube_py.components.kubelet.settings import KubeletSettings

    data = Path(settings.data_dir).resolve()
    return KubeletSettings(
        node_name=config.node_name(settings),
        node_ip=config.node_ip(settings),
        root_dir=data / "agent" / "kubelet",
        pod_logs_dir=config.pod_logs_dir(settings),
        cluster_dns=(config.cluster_dns_address(settings),),
        cluster_domain=settings.cluster_domain,
        static_pod_dir=data / "agent" / "pod-manifests",
        max_pods=settings.max_pods,
        node_labels=config.labels(settings.node_label),
        node_taints=settings.node_taint,
        port=settings.kubelet_port,
        tls_cert_file=files.serving.certificate,
        tls_key_file=files.serving.key,
        client_ca_file=files.client_ca,
        tls_policy=config.tls_policy(settings),
        pod_pids_limit=max(settings.pod_max_pids, 0),
        allowed_unsafe_sysctls=settings.allowed_unsafe_sysctls,
        seccomp_default=settings.seccomp_default,
        cgroup_root=config.cgroup_root(settings),
    )


async def _kubelet(node: Node, ready: Ready) -> None:
    from minikube_py.components.kubelet import run_kubelet
    from minikube_py.components.kubelet.runtime.cri import CriRuntime

    runtime = CriRuntime(runtime_endpoint(node.settings), node.clock)
    try:
        await run_kubelet(
            node.client,
            runtime,
            kubelet_settings(node.settings, node.files),
            node.clock,
            node.recorder,
            ready,
            neighbours=node.registry,
        )
    finally:
        await runtime.close()


def network_settings(settings: ServerSettings, node_ip: str = "") -> NetworkSettings:
    """The pod network's own record; running it needs ``node_ip``, removing it does not."""
    from minikube_py.components.network import NetworkSettings

    return NetworkSettings(
        node_name=config.node_name(settings),
        cluster_cidr=settings.cluster_cidr,
        conf_dir=containerd_settings_of(settings).cni_conf_dir,
        state_dir=Path(settings.data_dir).resolve() / "agent" / "cni",
        bridge=settings.bridge_name,
        node_ip=node_ip,
        backend=settings.flannel_backend,
    )


async def _network(node: Node, ready: Ready) -> None:
    from minikube_py.components.network import run_network

    settings = network_settings(node.settings, config.node_ip(node.settings))
    await run_network(node.client, settings, node.clock, ready)


async def _proxy(node: Node, ready: Ready) -> None:
    from minikube_py.components.proxy import ProxySettings, run_proxy

    settings = ProxySettings(
        node_name=config.node_name(node.settings),
        node_ip=config.node_ip(node.settings),
        cluster_cidr=node.settings.cluster_cidr,
        service_cidr=config.node_service_cidr(node.settings),
        node_local=frozenset({DNS_SERVICE}) if "dns" not in node.settings.disable else frozenset(),
    )
    await run_proxy(node.proxy_client, settings, node.clock, node.registry, ready)


async def _local_storage(node: Node, ready: Ready) -> None:
    from minikube_py.components.localpath import run_folders

    await run_folders(node.client, node.clock, config.node_name(node.settings), ready)


async def _dns(node: Node, ready: Ready) -> None:
    from minikube_py.components.dns import DnsSettings, run_dns

    settings = DnsSettings(address=config.cluster_dns_address(node.settings), domain=node.settings.cluster_domain)
    await run_dns(node.proxy_client, settings, node.registry, ready)


def import_archives(settings: ServerSettings, archives: Sequence[Path]) -> Iterable[str]:
    """Import image archives into the running node; yields image names. Raises NodeError."""
    from minikube_py.components.kubelet.runtime.images.archive import ArchiveError
    from minikube_py.components.kubelet.runtime.types import RuntimeFailure

    try:
        return asyncio.run(_import(settings, archives))
    except RuntimeFailure as error:
        raise NodeError(f"containerd does not answer ({error.message}); is pyk3s server running here?") from error
    except (ArchiveError, OSError) as error:
        raise NodeError(f"cannot import: {error}") from error


async def _import(settings: ServerSettings, archives: Sequence[Path]) -> list[str]:
    from minikube_py.components.kubelet.runtime.images.importer import import_image_archive

    socket = runtime_endpoint(settings).removeprefix("unix://")
    names: list[str] = []
    for archive in archives:
        names += await import_image_archive(socket, archive)
    return names
