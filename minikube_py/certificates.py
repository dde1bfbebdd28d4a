"""The PKI of a running server process: made at the start, renewed while it runs, handed to who uses it.

Files are the truth. ``ServerCredentials.run`` renews them in time (``pki.renewal``) and watches them, so
a renewal of its own, ``pyk3s certificate rotate`` and an administrator who replaces a CA all take the
same way: the API's listener shows the new certificate to new connections, the authenticators trust the
new authorities, the kubeconfig is written again, the CA bundle goes to every namespace. A file that
cannot be used is logged, and what was loaded before stays in use.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from minikube_py import config
from minikube_py.config import ServerSettings
from minikube_py.host.file_changes import file_changes, signature_of
from minikube_py.host.tls import ServerTls, ignore_times
from minikube_py.host.tls_policy import TlsPolicy
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.observed import Observed
from minikube_py.pki import Pki, ensure_pki, ensure_server_token
from minikube_py.pki.errors import PkiError
from minikube_py.pki.inspection import inspect_certificates
from minikube_py.pki.layout import pki_files
from minikube_py.pki.renewal import Renewal
from minikube_py.pki.signing import RequestSigner

log = logging.getLogger(__name__)

Listener = Callable[[], Awaitable[None]]


def ensure_files(settings: ServerSettings, clock: Clock) -> Pki:
    """Create or complete the PKI and the join tokens. Blocks. Raises PkiError, ConfigError, OSError."""
    data, address = Path(settings.data_dir).resolve(), config.node_ip(settings)
    addresses = [address, "127.0.0.1", *([settings.advertise_address] if settings.advertise_address else [])]
    pki = ensure_pki(
        data,
        node_name=config.node_name(settings),
        node_ips=tuple(dict.fromkeys(addresses)),
        sans=settings.tls_san,
        service_ip=config.service_address(settings, 1),
        cluster_domain=settings.cluster_domain,
        clock=clock,
        leaf_seconds=config.seconds("certificate_duration", settings.certificate_duration),
    )
    ensure_server_token(data, pki.server_ca.certificate, settings.token, settings.agent_token)
    return pki


def server_tls(pki: Pki, policy: TlsPolicy) -> ssl.SSLContext:
    """TLS as the policy says; client certificates are asked for and judged by the authenticators."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    policy.apply(context)
    context.load_cert_chain(pki.serving_kube_apiserver.certificate, pki.serving_kube_apiserver.key)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(pki.client_ca.certificate)
    context.load_verify_locations(pki.request_header_ca.certificate)
    # The authenticators judge times, against the floor of a clock that may be wrong; OpenSSL would only
    # compare with that clock and break the handshake.
    ignore_times(context)
    return context


class ServerCredentials:
    """What a server process holds of its PKI. Making one blocks: do it in a thread.

    ``root_ca`` is the bundle with which others verify the API, as PEM text.
    """

    def __init__(self, settings: ServerSettings, clock: Clock) -> None:
        self.pki = ensure_files(settings, clock)
        self._clock = clock
        pairs = pki_files(self.pki.data_dir).values()
        self._files = [*(path for pair in pairs for path in (pair.certificate, pair.key)), self.pki.service_key]
        self._seen = signature_of(self._files)
        self.tls = ServerTls(partial(server_tls, self.pki, config.tls_policy(settings)))
        self.root_ca = Observed(self.pki.server_ca.certificate.read_text())
        self._signer = RequestSigner(self.pki.data_dir, self.pki.floor)
        self._listeners: dict[str, Listener] = {
            "listener": self.tls.exchange,
            "root CA": self._read_root_ca,
            "metrics": self._inspect,
        }
        self.certificates = inspect_certificates(self.pki.data_dir, self.pki.floor.now())
        """What is there, for the metrics; read again after each change."""
        self._again = asyncio.Event()
        self.renewal = Renewal(
            self.pki.data_dir, partial(ensure_files, settings, clock), self.pki.floor, clock, self._again.set
        )

    def on_change(self, name: str, listener: Listener, *, first: bool = False) -> None:
        """Call ``listener`` after certificates have changed, and after a clock that was behind has been set.

        They are called one after the other; ``first`` is for those who trust, because new authorities must
        be known before anybody shows what they signed. A later one of the same name takes the place of the
        earlier. It may raise PkiError, OSError and ValueError, which are logged under the name.
        """
        self._listeners.pop(name, None)
        self._listeners = {name: listener, **self._listeners} if first else {**self._listeners, name: listener}

    async def sign_request(self, signer: str, request: bytes, usages: Sequence[str], seconds: float) -> bytes:
        """Sign a certificate request with the CA that serves the signer (``pki.signing``). Raises PkiError, OSError."""
        return await asyncio.to_thread(self._signer.sign, signer, request, usages, seconds)

    async def run(self, ready: Callable[[], None]) -> None:
        """The component: renew and follow until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.renewal.run(), name="certificate-renewal")
            tasks.create_task(self._follow(), name="certificate-files")
            tasks.create_task(self._follow_clock(), name="clock-set")
            ready()

    async def reload(self) -> None:
        """Hand on what the files hold now."""
        log.info("certificates have changed")
        for name, listener in self._listeners.items():
            try:
                await listener()
            except (PkiError, ApiError, OSError, ValueError) as error:
                log.error("cannot take in new certificates", extra={"part": name, "error": str(error)})

    async def _follow(self) -> None:
        async with aclosing(file_changes(self._files, self._clock, since=self._seen)) as changes:
            async for _ in changes:
                await self.reload()

    async def _follow_clock(self) -> None:
        while True:
            await self._again.wait()
            self._again.clear()
            await self.reload()

    async def _inspect(self) -> None:
        self.certificates = await asyncio.to_thread(inspect_certificates, self.pki.data_dir, self.pki.floor.now())

    async def _read_root_ca(self) -> None:
        self.root_ca.set(await asyncio.to_thread(self.pki.server_ca.certificate.read_text))


class CertificateMetrics(Collector):
    """``pyk3s_certificate_expiration_seconds`` (as k3s's) and what the renewal does; read at each scrape."""

    def __init__(self, credentials: ServerCredentials) -> None:
        self._credentials = credentials

    def collect(self) -> Iterable[Metric]:
        found, floor = self._credentials, self._credentials.pki.floor
        left = GaugeMetricFamily(
            "pyk3s_certificate_expiration_seconds",
            "Remaining lifetime of the certificate.",
            labels=("filename", "subject", "usages"),
        )
        for one in found.certificates:
            left.add_metric((one.file.name, one.subject, one.usages), one.ends - floor.now())
        yield left
        text = "How far the clock is behind the latest time ever seen."
        yield GaugeMetricFamily("pyk3s_clock_behind_seconds", text, floor.lag_seconds)
        text = "Times the certificates were renewed, or should have been and could not."
        renewals = CounterMetricFamily("pyk3s_certificate_renewals", text, labels=("result",))
        renewals.add_metric(("success",), found.renewal.renewals)
        renewals.add_metric(("error",), found.renewal.failures)
        yield renewals
