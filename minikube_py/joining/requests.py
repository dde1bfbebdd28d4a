"""Asks the API for a certificate and waits for it: the kubelet's side of CertificateSigningRequests.

The request's name is derived from the key and the signer, so that a worker that was interrupted goes on waiting for
its request instead of making another.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minikube_py.client.types import Client, EventType
from minikube_py.machinery.errors import ApiError, is_already_exists
from minikube_py.machinery.objects import Object, resource_version_of
from minikube_py.machinery.resources import CERTIFICATE_SIGNING_REQUESTS

if TYPE_CHECKING:
    from minikube_py.pki.certificates import SigningKey

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING_SIGNER = "kubernetes.io/kubelet-serving"
patience_seconds = 60.0
"""How long somebody may take to approve and sign before the caller is told."""


class RequestRefused(Exception):
    """The request was denied or has failed; the text says why. Another one, with another key, may fare better."""


class RequestUnanswered(Exception):
    """Nobody decided in time; the text says what can be done. Asking with the same key goes on waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A certificate of a node: ``serving`` for its names and addresses, else as a client of the API."""

    node_name: str
    serving: bool = False
    addresses: tuple[str, ...] = ()

    @property
    def signer(self) -> str:
        return SERVING_SIGNER if self.serving else CLIENT_SIGNER

    @property
    def usages(self) -> Sequence[str]:
        return ["digital signature", "server auth" if self.serving else "client auth"]


async def obtain(client: Client, wanted: Wanted, key: SigningKey) -> bytes:
    """The certificate (and what belongs to its chain) as PEM. Raises ApiError, RequestRefused, RequestUnanswered."""
    request = request_object(wanted, await asyncio.to_thread(request_pem, wanted, key))
    try:
        live = await client.create(CERTIFICATE_SIGNING_REQUESTS, request)
    except ApiError as error:
        if not is_already_exists(error):
            raise
        live = await client.get(CERTIFICATE_SIGNING_REQUESTS, request["metadata"]["name"])
    try:
        async with asyncio.timeout(patience_seconds):
            return await _answer(client, live)
    except TimeoutError:
        name = request["metadata"]["name"]
        raise RequestUnanswered(
            f"nobody answered certificate request {name} within {patience_seconds:.0f} s; approve it with "
            f"`pyk3s kubectl certificate approve {name}`, or see whether the server's controllers run"
        ) from None


async def _answer(client: Client, live: Object) -> bytes:
    """Follow one request to its end."""
    name = live["metadata"]["name"]
    while True:
        certificate = outcome(live)
        if certificate is not None:
            return certificate
        async with client.watch(
            CERTIFICATE_SIGNING_REQUESTS,
            resource_version=resource_version_of(live),
            field_selector=f"metadata.name={name}",
        ) as events:
            async for event in events:
                if event.type is EventType.ERROR:
                    break  # its version is gone: look at the newest
                certificate = outcome(event.object)
                if certificate is not None:
                    return certificate
        live = await client.get(CERTIFICATE_SIGNING_REQUESTS, name)


def outcome(request: Object) -> bytes | None:
    """The certificate of a request, None while there is none. Raises RequestRefused."""
    status = request.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") in ("Denied", "Failed") and condition.get("status", "True") == "True":
            raise RequestRefused(str(condition.get("message") or condition.get("reason") or "the request was denied"))
    return base64.b64decode(status["certificate"]) if status.get("certificate") else None


def request_object(wanted: Wanted, pem: bytes) -> Object:
    name = hashlib.sha256(wanted.signer.encode() + pem_key(pem)).hexdigest()[:40]
    return {
        "apiVersion": CERTIFICATE_SIGNING_REQUESTS.api_version,
        "kind": CERTIFICATE_SIGNING_REQUESTS.kind,
        "metadata": {"name": f"node-csr-{name}"},
        "spec": {
            "request": base64.b64encode(pem).decode("ascii"),
            "signerName": wanted.signer,
            "usages": list(wanted.usages),
        },
    }


def pem_key(pem: bytes) -> bytes:
    """The public key of a request, as DER."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return x509.load_pem_x509_csr(pem).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def request_pem(wanted: Wanted, key: SigningKey) -> bytes:
    """The signed request: ``O=system:nodes, CN=system:node:<name>``, with names and addresses when it is to serve."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    subject = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, f"system:node:{wanted.node_name}"),
        ]
    )
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if wanted.serving:
        names: list[x509.GeneralName] = [x509.DNSName(wanted.node_name)]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in wanted.addresses]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
