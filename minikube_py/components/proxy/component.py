"""The proxy component: follows Services and EndpointSlices, keeps the nftables table in step.

Level-triggered: a change marks the table dirty, one task recomputes what changed and applies the
difference. Service ports are derived again only for Services that an event named. After a failed
transaction the whole table is built anew, with back-off. Stopping leaves the rules in place, so
that connections go on while pyk3s restarts; ``remove_proxy`` takes them away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from minikube_py.client.types import Client, EventType, Informer
from minikube_py.components.proxy.compiler import compile_rules, skeleton
from minikube_py.components.proxy.differ import transaction
from minikube_py.components.proxy.health import HealthServers
from minikube_py.components.proxy.metrics import ProxyMetrics
from minikube_py.components.proxy.model import SERVICE_NAME_LABEL, ServicePort, service_ports
from minikube_py.components.proxy.ruleset import Ruleset
from minikube_py.host.commands import CommandFailed, run
from minikube_py.machinery import resources
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.objects import Object, key_of, labels_of, namespace_of, split_key

log = logging.getLogger(__name__)

by_service = "proxy-service"
BRIDGE_SWITCH = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
FORWARD_SWITCH = Path("/proc/sys/net/ipv4/ip_forward")
gather_seconds = 0.02
"""How long changes are gathered into one transaction: a rollout changes many slices at once."""
first_backoff_seconds, longest_backoff_seconds = 1.0, 30.0


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """``node_local``: Services (namespace, name) that this process answers on their own address."""

    node_name: str
    node_ip: str
    cluster_cidr: str
    service_cidr: str
    table: str = "pyk3s"
    node_local: frozenset[tuple[str, str]] = frozenset()


class Table:
    """The kernel's table and what we know of it; ``current`` is None when that is unknown."""

    def __init__(self, settings: ProxySettings) -> None:
        self._settings = settings
        self.current: Ruleset | None = None

    async def apply(self, wanted: Ruleset) -> bool:
        """Make the kernel agree; returns whether anything changed. Raises CommandFailed (then: unknown)."""
        settings = self._settings
        script = ""
        if self.current is None:
            script = skeleton(settings.table, cluster_cidr=settings.cluster_cidr, service_cidr=settings.service_cidr)
        script += transaction(settings.table, self.current or Ruleset(), wanted)
        if not script:
            return False
        self.current = None
        await run(["nft", "-f", "-"], stdin=script.encode())
        self.current = wanted
        return True


class Tracker:
    """Service ports by Service key, derived again only where something changed."""

    def __init__(
        self, settings: ProxySettings, services: Informer, slices: Informer, clock: Clock, metrics: ProxyMetrics
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._services = services
        self._slices = slices
        self._dirty: set[str] = set()
        self._ports: dict[str, tuple[ServicePort, ...]] = {}
        self.changed = asyncio.Event()
        slices.add_index(by_service, _service_keys)

    def on_service(self, type: EventType, obj: Object, old: Object | None) -> None:
        self._metrics.service_changes.inc()
        self._metrics.services_pending.inc()
        self._mark(key_of(obj))

    def on_slice(self, type: EventType, obj: Object, old: Object | None) -> None:
        self._metrics.endpoint_changes.inc()
        self._metrics.endpoints_pending.inc()
        for key in {*_service_keys(obj), *(_service_keys(old) if old else ())}:
            self._mark(key)

    def _mark(self, key: str) -> None:
        self._dirty.add(key)
        self._metrics.last_queued.set(self._clock.now())
        self.changed.set()

    def take(self) -> list[ServicePort]:
        """Derive what is dirty and return all service ports."""
        self.changed.clear()
        dirty, self._dirty = self._dirty, set()
        self._metrics.services_pending.set(0)
        self._metrics.endpoints_pending.set(0)
        for key in dirty:
            namespace, name = split_key(key)
            service = self._services.get(name, namespace)
            if service is None or (namespace, name) in self._settings.node_local:
                self._ports.pop(key, None)
                continue
            slices = self._slices.by_index(by_service, key)
            self._ports[key] = service_ports(service, slices, self._settings.node_name)
        return [port for ports in self._ports.values() for port in ports]


def _service_keys(slice_: Object) -> list[str]:
    name = labels_of(slice_).get(SERVICE_NAME_LABEL)
    return [f"{namespace_of(slice_)}/{name}"] if name else []


async def run_proxy(
    client: Client, settings: ProxySettings, clock: Clock, registry: CollectorRegistry, ready: Callable[[], None]
) -> None:
    """Keep the table in step until cancelled."""
    services, slices = client.informer(resources.SERVICES), client.informer(resources.ENDPOINT_SLICES)
    health, metrics = HealthServers(), ProxyMetrics(registry)
    unsubscribe: list[Callable[[], None]] = []
    try:
        tracker = Tracker(settings, services, slices, clock, metrics)
        await services.synced()
        await slices.synced()
        await prepare_kernel(settings)
        unsubscribe += [services.subscribe(tracker.on_service), slices.subscribe(tracker.on_slice)]
        await _follow(tracker, Table(settings), settings, clock, metrics, health, ready)
    finally:
        for end in unsubscribe:
            end()
        metrics.forget()
        await health.close()


async def prepare_kernel(settings: ProxySettings) -> None:
    """Let the node forward, let the bridge show its traffic to the rules, keep the service range at home.

    Answers between two pods of one bridge must pass connection tracking, or the client would see
    the endpoint's address instead of the Service's. The route lets this node's own connections to
    Services reach the nat hook even without a default route, and keeps whatever no rule translates
    from ever leaving the machine. Raises CommandFailed.
    """
    if not await asyncio.to_thread(BRIDGE_SWITCH.exists):
        await run(["modprobe", "br_netfilter"])
    await asyncio.to_thread(_switch_on, (BRIDGE_SWITCH, FORWARD_SWITCH))
    await run(["ip", "route", "replace", settings.service_cidr, "dev", "lo", "src", settings.node_ip])


def _switch_on(switches: Sequence[Path]) -> None:
    for switch in switches:
        if switch.read_text().strip() != "1":
            switch.write_text("1")


async def _follow(
    tracker: Tracker,
    table: Table,
    settings: ProxySettings,
    clock: Clock,
    metrics: ProxyMetrics,
    health: HealthServers,
    ready: Callable[[], None],
) -> None:
    backoff = first_backoff_seconds
    while True:
        started = clock.monotonic()
        ports = tracker.take()
        duration = metrics.duration if table.current is not None else metrics.full_duration
        try:
            if await table.apply(compile_rules(ports, cluster_cidr=settings.cluster_cidr)):
                duration.observe(clock.monotonic() - started)
                metrics.last.set(clock.now())
                metrics.synced(ports)
            backoff = first_backoff_seconds
        except CommandFailed as error:
            metrics.failures.inc()
            log.error("cannot apply service rules", extra={"error": error.text, "retry_seconds": backoff})
            await clock.sleep(backoff)
            backoff = min(backoff * 2, longest_backoff_seconds)
            continue
        await health.update(ports)
        ready()
        await tracker.changed.wait()
        await clock.sleep(gather_seconds)


async def remove_proxy(table: str, service_cidr: str) -> None:
    """Take away everything ``run_proxy`` left in the kernel; nothing there is fine."""
    await run(["nft", "-f", "-"], stdin=f"add table ip {table}\ndelete table ip {table}\n".encode())
    try:
        await run(["ip", "route", "del", service_cidr, "dev", "lo"])
    except CommandFailed as error:
        if "No such process" not in error.text:
            raise
