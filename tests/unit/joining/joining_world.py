"""A cluster that signs what its node asks for, in memory; the node's files are real."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.x509 import Certificate

from minikube_py.client.testing.fake_client import FakeClient
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.client.types import EventType
from minikube_py.joining.cluster import NAME, NAMESPACE, ClusterFacts
from minikube_py.joining.identity import NodeFiles, certificate_of, node_files
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.resources import CERTIFICATE_SIGNING_REQUESTS, CONFIG_MAPS, NAMESPACES
from minikube_py.pki.authorities import LoadedAuthority
from minikube_py.pki.certificates import Authority, certificate_pem, make_authority
from minikube_py.pki.signing import sign_request

NOW = 1_800_000_000.0
HOUR = 3600.0
CLIENT_SIGNER, SERVING_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"


class NodeClient(FakeClient):
    """Counts how often the credentials were read again."""

    reloads = 0

    async def reload_credentials(self) -> None:
        self.reloads += 1


@dataclass
class World:
    """``seconds`` is how long certificates live; ``denies`` is how many requests are denied before one is signed."""

    folder: Path
    clock: FakeClock
    client: NodeClient
    server_ca: Authority
    client_ca: Authority
    seconds: float = 24 * HOUR
    denies: int = 0
    asked: list[str] = field(default_factory=list)

    @property
    def files(self) -> NodeFiles:
        return node_files(self.folder)

    def facts(self) -> ClusterFacts:
        server_ca, client_ca = (certificate_pem(ca.certificate).decode() for ca in (self.server_ca, self.client_ca))
        return ClusterFacts(
            cluster_cidr="10.42.0.0/16", service_cidr="10.43.0.0/16", cluster_dns="10.43.0.10",
            cluster_domain="cluster.local", disable=("dns",), flannel_backend="vxlan", server_ca=server_ca,
            client_ca=client_ca,
        )  # fmt: skip

    async def publish(self) -> None:
        body: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": NAMESPACE}}
        body["data"] = self.facts().data()
        if self.client.all(CONFIG_MAPS, NAMESPACE):
            await self.client.update(CONFIG_MAPS, body, NAMESPACE)
        else:
            await self.client.create(CONFIG_MAPS, body, NAMESPACE)

    def rotate(self) -> None:
        self.server_ca = make_authority("server-ca-2", self.clock.now())
        self.client_ca = make_authority("client-ca-2", self.clock.now())

    def sign(self, type: EventType, request: Object, old: Object | None) -> None:
        """The handler that answers requests."""
        if type is EventType.ADDED:
            asyncio.get_running_loop().create_task(self._answer(request))

    async def _answer(self, request: Object) -> None:
        spec, draft = request["spec"], thaw(request)
        self.asked.append(spec["signerName"])
        if self.denies:
            self.denies -= 1
            draft["status"] = {"conditions": [{"type": "Denied", "status": "True", "message": "not you"}]}
        else:
            authority = self.client_ca if spec["signerName"] == CLIENT_SIGNER else self.server_ca
            now, pem = self.clock.now(), base64.b64decode(spec["request"])
            loaded = LoadedAuthority(authority, (authority.certificate,))
            signed = sign_request(loaded, pem, spec["usages"], self.seconds, now, now)
            draft["status"] = {
                "conditions": [{"type": "Approved", "status": "True"}],
                "certificate": base64.b64encode(signed).decode(),
            }
        await self.client.update(CERTIFICATE_SIGNING_REQUESTS, draft, subresource="status")

    async def present(self, *, serving: bool = False) -> Certificate | None:
        return await asyncio.to_thread(certificate_of, self.files.serving if serving else self.files.client)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass once the component sleeps: what it does in threads belongs to the moment before."""
        for _ in range(30_000):
            if self.clock.sleepers:
                await self.clock.advance(seconds)
                return
            await asyncio.sleep(0.001)
        raise AssertionError("the component does not come to rest within 30 s")


async def new_world(folder: Path) -> World:
    clock = FakeClock(NOW)
    client = NodeClient(clock)
    await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    world = World(folder, clock, client, make_authority("server-ca", NOW), make_authority("client-ca", NOW))
    client.informer(CERTIFICATE_SIGNING_REQUESTS).subscribe(world.sign)
    await world.publish()
    return world


async def until(what: str, probe: Callable[[], object]) -> None:
    """Wait until ``probe`` gives something true: files are written by threads, which virtual time knows nothing of."""
    for _ in range(6000):
        if await asyncio.to_thread(probe):
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{what}: not within 30 s")
