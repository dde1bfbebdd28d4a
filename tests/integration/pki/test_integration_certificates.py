"""A whole control plane in this process, on a clock that can be set: renewal, rotation, the boot in 1970.

TLS is real, files are real; only what the clock says is made up.
"""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from minikube_py import bootstrap_tokens
from minikube_py.client.clock import SystemClock
from minikube_py.client.http import HttpClient, kubeconfig_client
from minikube_py.config import ServerSettings
from minikube_py.host.tls import ignore_times
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.resources import CERTIFICATE_SIGNING_REQUESTS, CONFIG_MAPS, NAMESPACES, Resource
from minikube_py.pki import parse_join_token
from minikube_py.pki.certificates import key_pem
from minikube_py.pki.rotation import rotate_authorities
from minikube_py.server import server_components
from minikube_py.serving.process import Server
from minikube_py.supervisor import Supervisor

T = TypeVar("T")
DAY = 24 * 3600.0
REVIEW = Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False)
patience_seconds = 60.0


class SettableClock(SystemClock):
    """The system's clock plus what a test adds; sleepers notice a jump within some milliseconds."""

    __slots__ = ("shift",)

    def __init__(self, shift: float = 0.0) -> None:
        self.shift = shift

    def now(self) -> float:
        return super().now() + self.shift

    def monotonic(self) -> float:
        return super().monotonic() + self.shift

    async def sleep(self, seconds: float) -> None:
        end = self.monotonic() + seconds
        while (left := end - self.monotonic()) > 0:
            await super().sleep(min(left, 0.02))


class ControlPlane:
    """A running server; ``clock`` may be set while it runs."""

    def __init__(self, folder: Path, port: int, clock: SettableClock) -> None:
        self.folder, self.port, self.clock = folder, port, clock
        self.data, self.kubeconfig = folder / "data", folder / "kubeconfig"
        settings = ServerSettings(
            data_dir=str(self.data),
            bind_address="127.0.0.1",
            https_listen_port=port,
            write_kubeconfig=str(self.kubeconfig),
            disable_agent=True,
            disable_scheduler=True,
            node_ip="192.0.2.10",
            node_name="node-a",
        )
        server = Server(settings, clock)
        self.supervisor = Supervisor(server_components(server), clock)
        self.server = server

    def shown(self) -> x509.Certificate:
        """The certificate that a new connection gets. Blocks."""
        context = ssl.create_default_context(cafile=self.data / "server" / "tls" / "server-ca.crt")
        ignore_times(context)
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=5) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as tls,
        ):
            der = tls.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der)

    async def user_of(self, kubeconfig: Path) -> str:
        async with await kubeconfig_client(kubeconfig) as client:
            return await who(client)


async def who(client: HttpClient) -> str:
    body: Object = {"apiVersion": REVIEW.api_version, "kind": REVIEW.kind, "metadata": {}}
    return str((await client.create(REVIEW, body))["status"]["userInfo"]["username"])


@asynccontextmanager
async def running(folder: Path, port: int, clock: SettableClock) -> AsyncIterator[ControlPlane]:
    plane, stop = ControlPlane(folder, port, clock), asyncio.Event()
    task = asyncio.create_task(plane.supervisor.run(stop))
    try:
        async with asyncio.timeout(patience_seconds):
            for name in ("certificates", "controllers"):
                waiting = asyncio.create_task(plane.supervisor.wait_ready(name))
                await asyncio.wait((waiting, task), return_when=asyncio.FIRST_COMPLETED)
                if task.done():
                    task.result()
        yield plane
    finally:
        stop.set()
        await task


async def until(condition: Callable[[], bool]) -> None:
    """Wait for files and loops; bounded, so that a failure does not hang."""
    await eventually(lambda: asyncio.to_thread(condition))


async def eventually(ask: Callable[[], Awaitable[T]]) -> T:
    """The first true answer."""
    async with asyncio.timeout(patience_seconds):
        while not (found := await ask()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return found


async def certificate_of(client: HttpClient, name: str) -> bytes:
    """What the signer put into a request, once it is there."""

    async def ask() -> str:
        request = await client.get(CERTIFICATE_SIGNING_REQUESTS, name)
        return str((request.get("status") or {}).get("certificate") or "")

    return base64.b64decode(await eventually(ask))


def request_for(name: str, signer: str, key: ec.EllipticCurvePrivateKey, subject: str, group: str = "") -> Object:
    """A signing request for a client certificate."""
    oid = x509.NameOID
    attributes = [x509.NameAttribute(oid.ORGANIZATION_NAME, group)] if group else []
    attributes.append(x509.NameAttribute(oid.COMMON_NAME, subject))
    built = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes)).sign(key, hashes.SHA256())
    encoded = base64.b64encode(built.public_bytes(Encoding.PEM)).decode()
    resource = CERTIFICATE_SIGNING_REQUESTS
    spec = {"request": encoded, "signerName": signer, "usages": ["client auth", "digital signature"]}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}, "spec": spec}


def with_certificate(plane: ControlPlane, authority: Path, pem: bytes, key: ec.EllipticCurvePrivateKey) -> HttpClient:
    """A client that shows this certificate. Blocks."""
    certificate_file, key_file = plane.folder / "crt", plane.folder / "key"
    certificate_file.write_bytes(pem)
    key_file.write_bytes(key_pem(key))
    return HttpClient(
        f"https://127.0.0.1:{plane.port}", ca_file=authority, cert_file=certificate_file, key_file=key_file
    )


@pytest.fixture
def port(unused_tcp_port: int) -> int:
    return unused_tcp_port


async def test_certificates_are_renewed_while_running(tmp_path: Path, port: int) -> None:
    clock = SettableClock()
    async with running(tmp_path, port, clock) as plane:
        first = await asyncio.to_thread(plane.shown)
        old_kubeconfig = tmp_path / "old"
        old_kubeconfig.write_bytes(plane.kubeconfig.read_bytes())
        clock.shift = 250 * DAY
        await until(lambda: plane.shown() != first)
        await until(lambda: plane.kubeconfig.read_bytes() != old_kubeconfig.read_bytes())
        second = await asyncio.to_thread(plane.shown)
        assert second.not_valid_after_utc > first.not_valid_after_utc
        assert second.public_key() == first.public_key(), "a renewal keeps the key"


async def test_rotation_of_the_authorities_reaches_everybody(tmp_path: Path, port: int) -> None:
    clock = SettableClock()
    async with running(tmp_path, port, clock) as plane:
        first, old_kubeconfig = await asyncio.to_thread(plane.shown), tmp_path / "old"
        old_kubeconfig.write_bytes(plane.kubeconfig.read_bytes())
        async with await kubeconfig_client(old_kubeconfig) as open_client:
            assert await who(open_client) == "system:admin"
            await asyncio.to_thread(rotate_authorities, plane.data, clock)
            await until(lambda: plane.shown().issuer != first.issuer)
            bundle = (plane.data / "server" / "tls" / "server-ca.crt").read_text()
            embedded = base64.b64encode(bundle.encode()).decode()
            await until(lambda: embedded in plane.kubeconfig.read_text())
            assert await who(open_client) == "system:admin", "open connections go on"
            names = [name["metadata"]["name"] for name in (await open_client.list(NAMESPACES)).items]

            async def published() -> bool:
                found = [await open_client.get(CONFIG_MAPS, "kube-root-ca.crt", name) for name in names]
                return all(one["data"]["ca.crt"] == bundle for one in found)

            await eventually(published)
        assert await plane.user_of(old_kubeconfig) == "system:admin", "old kubeconfig, old CA, old certificate"
        assert await plane.user_of(plane.kubeconfig) == "system:admin"
        await asyncio.to_thread(lambda: rotate_authorities(plane.data, clock, distrust_old=True))
        current = plane.data / "server" / "tls" / "server-ca.crt"
        await until(lambda: base64.b64encode(current.read_bytes()).decode() in plane.kubeconfig.read_text())
        with pytest.raises(ApiError, match="certificate"):
            await plane.user_of(old_kubeconfig)
        assert await plane.user_of(plane.kubeconfig) == "system:admin"


async def test_client_on_a_node_follows_its_files(tmp_path: Path, port: int) -> None:
    """What an agent does: its requests go on under way, and new ones show what the files hold."""
    clock = SettableClock()
    async with running(tmp_path, port, clock) as plane:
        agent = plane.data / "agent"
        async with HttpClient(
            f"https://127.0.0.1:{port}",
            ca_file=agent / "server-ca.crt",
            cert_file=agent / "client-kubelet.crt",
            key_file=agent / "client-kubelet.key",
        ) as node:
            assert await who(node) == "system:node:node-a"
            before = plane.kubeconfig.read_bytes()
            await asyncio.to_thread(lambda: rotate_authorities(plane.data, clock, distrust_old=True))
            await until(lambda: plane.kubeconfig.read_bytes() != before)
            await node.reload_credentials()
            assert await who(node) == "system:node:node-a"


async def test_boot_in_1970(tmp_path: Path, port: int) -> None:
    """The second boot of a board without a battery clock: nothing is made anew, and it serves."""
    async with running(tmp_path, port, SettableClock()) as plane:
        first = await asyncio.to_thread(plane.shown)
    clock = SettableClock(-SystemClock().now() + 100.0)
    async with running(tmp_path, port, clock) as plane:
        assert clock.now() < 200.0 and plane.server.foundation.pki.issued == ()
        assert await asyncio.to_thread(plane.shown) == first
        assert await plane.user_of(plane.kubeconfig) == "system:admin"
        assert plane.server.foundation.pki.floor.report()
        clock.shift = 300 * DAY  # the network tells the time: most of a year has passed
        await until(lambda: plane.shown() != first)
        await until(lambda: not plane.server.foundation.pki.floor.report())


async def test_user_certificate_by_request(tmp_path: Path, port: int) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    body = request_for("jane", "kubernetes.io/kube-apiserver-client", key, "jane")
    async with running(tmp_path, port, SettableClock()) as plane:
        async with await kubeconfig_client(plane.kubeconfig) as admin:
            draft = thaw(await admin.create(CERTIFICATE_SIGNING_REQUESTS, body))
            draft["status"] = {"conditions": [{"type": "Approved", "status": "True", "reason": "Test"}]}
            await admin.update(CERTIFICATE_SIGNING_REQUESTS, draft, subresource="approval")
            pem = await certificate_of(admin, "jane")
        async with with_certificate(plane, plane.data / "server" / "tls" / "server-ca.crt", pem, key) as jane:
            assert await who(jane) == "jane"


async def test_node_joins_with_a_bootstrap_token(tmp_path: Path, port: int) -> None:
    """The token authenticates, its signature vouches for cluster-info, and a kubelet's request is approved."""
    key = ec.generate_private_key(ec.SECP256R1())
    body = request_for("n7", "kubernetes.io/kube-apiserver-client-kubelet", key, "system:node:n7", "system:nodes")
    async with running(tmp_path, port, SettableClock()) as plane:
        async with await kubeconfig_client(plane.kubeconfig) as admin:
            token = await bootstrap_tokens.create(admin, SystemClock())

            async def published() -> list[Object]:
                found = (await admin.list(CONFIG_MAPS, "kube-public")).items
                return [one for one in found if f"jws-kubeconfig-{token[:6]}" in one["data"]]

            [cluster_info] = await eventually(published)
        cluster = yaml.safe_load(cluster_info["data"]["kubeconfig"])["clusters"][0]["cluster"]
        assert cluster["server"] == f"https://192.0.2.10:{port}"
        authority = tmp_path / "ca"
        authority.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
        async with HttpClient(f"https://127.0.0.1:{port}", ca_file=authority, token=token) as node:
            await node.create(CERTIFICATE_SIGNING_REQUESTS, body)
            pem = await certificate_of(node, "n7")
        async with with_certificate(plane, authority, pem, key) as kubelet:
            assert await who(kubelet) == "system:node:n7"


async def test_token_command_against_a_running_server(tmp_path: Path, port: int) -> None:
    """``pyk3s token create|list|delete`` in processes of their own; the token pins the CA of the kubeconfig."""

    async def pyk3s(*arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "minikube_py.cli", "token", *arguments, "--kubeconfig", str(tmp_path / "kubeconfig"),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        return output.decode()

    async with running(tmp_path, port, SettableClock()) as plane:
        made = parse_join_token(await pyk3s("create", "--ttl", "2h", "--description", "rack 7"))
        authority = await asyncio.to_thread((plane.data / "server" / "tls" / "server-ca.crt").read_bytes)
        assert made.is_bootstrap_token and made.ca_hash and made.pins(authority)
        listed = await pyk3s("list")
        assert made.secret[:6] in listed and "rack 7" in listed and made.secret[7:] not in listed
        assert await pyk3s("delete", made.secret) == f"bootstrap token '{made.secret[:6]}' deleted\n"
        assert await pyk3s("delete", made.secret) == (
            f"pyk3s: there is no token with the id {made.secret[:6]}; see `pyk3s token list`\n"
        )
