"""Registers the node and keeps its status and its lease.

The first status is posted as soon as the runtime answers. Afterwards it is written when it changes,
and every five minutes as a sign of life; the lease is renewed every ten seconds (both are
Kubernetes' intervals). While the runtime's network is not ready it is asked again at short, growing
intervals, since no runtime tells of that change.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from minikube_py.client.types import Client, PatchType
from minikube_py.components.kubelet.node.facts import Machine
from minikube_py.components.kubelet.node.node_object import (
    Observed,
    Pressure,
    differs,
    new_node,
    node_labels,
    node_status,
)
from minikube_py.components.kubelet.runtime.types import Runtime, RuntimeConditions, RuntimeFailure, RuntimeVersion
from minikube_py.components.kubelet.settings import KubeletSettings
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError, is_already_exists, is_conflict, is_not_found
from minikube_py.machinery.objects import Object, labels_of, thaw, uid_of
from minikube_py.machinery.resources import LEASES, NODES
from minikube_py.machinery.times import rfc3339_micro

log = logging.getLogger(__name__)

LEASE_NAMESPACE = "kube-node-lease"
first_retry_seconds = 0.05
longest_retry_seconds = 5.0
runtime_check_seconds = 60.0


class Registration:
    """The node's own API object and lease; one task each, run by ``run``."""

    def __init__(
        self,
        client: Client,
        runtime: Runtime,
        settings: KubeletSettings,
        clock: Clock,
        machine: Machine,
        *,
        port: Callable[[], int],
    ) -> None:
        self._client = client
        self._runtime = runtime
        self._settings = settings
        self._clock = clock
        self._machine = machine
        self._port = port
        self._pressure = Pressure()
        self._nudge = asyncio.Event()
        self.registered = asyncio.Event()
        self.node: Object = new_node(settings, machine)
        """The newest known Node object; written by the status task."""

    def set_pressure(self, pressure: Pressure) -> None:
        """Report this pressure from now on."""
        if pressure != self._pressure:
            self._pressure = pressure
            self._nudge.set()

    @property
    def pressure(self) -> Pressure:
        return self._pressure

    async def run(self, ready: Callable[[], None]) -> None:
        """Register, then keep status and lease until cancelled; ``ready`` once the node is Ready=True."""
        await self._register()
        self.registered.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_status(ready), name="node-status")
            group.create_task(self._keep_lease(), name="node-lease")

    async def _register(self) -> None:
        retry = first_retry_seconds
        while True:
            try:
                self.node = await self._create_or_adopt()
                return
            except ApiError as error:
                log.info("cannot register node", extra={"error": error.message})
            await self._clock.sleep(retry)
            retry = min(retry * 2, longest_retry_seconds)

    async def _create_or_adopt(self) -> Object:
        wanted = new_node(self._settings, self._machine)
        observed = await self._observe()
        if observed is not None:
            wanted["status"] = node_status({}, self._settings, observed, self._clock.now())
        try:
            return await self._client.create(NODES, wanted)
        except ApiError as error:
            if not is_already_exists(error):
                raise
        existing = await self._client.get(NODES, self._settings.node_name)
        labels = node_labels(self._settings, self._machine)
        missing = {key: value for key, value in labels.items() if labels_of(existing).get(key) != value}
        if not missing:
            return existing
        patch = {"metadata": {"labels": missing}}
        return await self._client.patch(NODES, self._settings.node_name, patch, patch_type=PatchType.STRATEGIC)

    async def _keep_status(self, ready: Callable[[], None]) -> None:
        reported, retry, told = float("-inf"), first_retry_seconds, False
        while True:
            self._nudge.clear()
            good = False
            try:
                seen = await self._observe()
                if seen is not None:
                    reported = await self._report(seen, reported)
                    good = seen.conditions.runtime_ready and seen.conditions.network_ready
            except ApiError as error:
                log.info("cannot write node status", extra={"error": error.message})
            if good and not told:
                ready()
                told = True
            pause = runtime_check_seconds if good else retry
            retry = first_retry_seconds if good else min(retry * 2, 1.0)
            await self._pause(pause)

    async def _pause(self, seconds: float) -> None:
        """Sleep, or until something has changed."""
        timer = asyncio.create_task(self._clock.sleep(seconds))
        nudge = asyncio.create_task(self._nudge.wait())
        try:
            await asyncio.wait({timer, nudge}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            nudge.cancel()
            await asyncio.gather(timer, nudge, return_exceptions=True)

    async def _observe(self) -> Observed | None:
        """Ask the runtime; None when it does not answer and has never done so."""
        try:
            version, conditions = await asyncio.gather(self._runtime.version(), self._runtime.status())
            images = await self._runtime.list_images()
        except RuntimeFailure as failure:
            if not self.registered.is_set():
                return None
            conditions = RuntimeConditions(runtime_ready=False, network_ready=False, message=failure.message)
            version, images = self._known_version(), ()
        return Observed(self._machine, version, conditions, images, self._pressure, self._port())

    def _known_version(self) -> RuntimeVersion:
        """The version in the last status, for while the runtime is away."""
        text = str(((self.node.get("status") or {}).get("nodeInfo") or {}).get("containerRuntimeVersion") or "")
        name, _, version = text.partition("://")
        return RuntimeVersion(name, version, "")

    async def _report(self, seen: Observed, reported: float) -> float:
        """Write the status if it has changed or is due; returns when it was last written."""
        now = self._clock.monotonic()
        current = self.node.get("status") or {}
        wanted = node_status(current, self._settings, seen, self._clock.now())
        due = now - reported >= self._settings.node_status_report_seconds
        if not due and not differs(current, wanted):
            return reported
        body = {"metadata": {"uid": uid_of(self.node)}, "status": _status_patch(current, wanted)}
        try:
            self.node = await self._client.patch(
                NODES, self._settings.node_name, body, patch_type=PatchType.STRATEGIC, subresource="status"
            )
        except ApiError as error:
            if not (is_not_found(error) or is_conflict(error)):
                raise
            # Somebody has deleted the node (or made another of that name): register again.
            log.warning("node object is gone, registering again", extra={"node": self._settings.node_name})
            self.node = await self._create_or_adopt()
        return now

    async def _keep_lease(self) -> None:
        lease: Object | None = None
        while True:
            begin = self._clock.monotonic()
            try:
                lease = await self._renew(lease)
            except ApiError as error:
                log.info("cannot renew node lease", extra={"error": error.message})
                lease = None
                await self._clock.sleep(min(1.0, self._settings.lease_seconds))
                continue
            await self._clock.sleep(self._settings.lease_seconds - (self._clock.monotonic() - begin))

    async def _renew(self, lease: Object | None) -> Object:
        """Create or renew the lease; a lost race is tried once more with the newest state."""
        name = self._settings.node_name
        if lease is None:
            try:
                lease = await self._client.get(LEASES, name, LEASE_NAMESPACE)
            except ApiError as error:
                if not is_not_found(error):
                    raise
                return await self._client.create(LEASES, self._lease({"metadata": {"name": name}}), LEASE_NAMESPACE)
        try:
            return await self._client.update(LEASES, self._lease(lease), LEASE_NAMESPACE)
        except ApiError as error:
            if not is_conflict(error):
                raise
            newest = await self._client.get(LEASES, name, LEASE_NAMESPACE)
            return await self._client.update(LEASES, self._lease(newest), LEASE_NAMESPACE)

    def _lease(self, lease: Object) -> Object:
        made = thaw(lease)
        made.update({"apiVersion": LEASES.api_version, "kind": LEASES.kind})
        made["metadata"]["namespace"] = LEASE_NAMESPACE
        name = self._settings.node_name
        if uid_of(self.node):
            owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid_of(self.node)}
            made["metadata"]["ownerReferences"] = [owner]
        made["spec"] = {
            **(made.get("spec") or {}),
            "holderIdentity": name,
            "leaseDurationSeconds": self._settings.lease_duration_seconds,
            "renewTime": rfc3339_micro(self._clock.now()),
        }
        return made


def _status_patch(old: Object, new: Object) -> Object:
    """What of the status changes, as a strategic merge patch. Addresses are replaced as a whole."""
    patch = {key: value for key, value in new.items() if old.get(key) != value and key != "conditions"}
    if "addresses" in patch and old.get("addresses"):
        patch["addresses"] = [{"$patch": "replace"}, *patch["addresses"]]
    known = {item.get("type"): item for item in old.get("conditions") or ()}
    changed = [item for item in new.get("conditions") or () if known.get(item["type"]) != item]
    if changed:
        patch["conditions"] = changed
    return patch
