"""Who the other end of a connection is by its certificate: a user, or a front proxy that names one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from minikube_py.components.apiserver.authentication.certificates import CertificateAuthenticator, CertificateJudge
from minikube_py.components.apiserver.authentication.identity import Now
from minikube_py.components.apiserver.authentication.request_header import (
    RequestHeaderAuthenticator,
    RequestHeaderNames,
)
from minikube_py.pki import Pki, PkiError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


class PeerTrust:
    """Which CAs client certificates may come from: those of users, and those of front proxies."""

    def __init__(self, pki: Pki, now: Now) -> None:
        self._files = (pki.client_ca.certificate, pki.request_header_ca.certificate)
        clients, proxies = self._read()
        self.clients = CertificateJudge(clients, now)
        self.proxies = CertificateJudge(proxies, now)

    async def reload(self) -> None:
        """Take in what the files hold now. Raises PkiError or OSError, and then nothing has changed."""
        clients, proxies = await asyncio.to_thread(self._read)
        self.clients.trust(clients)
        self.proxies.trust(proxies)

    def _read(self) -> list[list[Certificate]]:
        from minikube_py.pki.certificates import load_certificates

        found: list[list[Certificate]] = []
        for path in self._files:
            try:
                found.append(load_certificates(path.read_bytes()))
            except ValueError as error:
                raise PkiError(f"{path} is not a PEM certificate: restore it from a backup") from error
        return found


def peer_authenticators(
    trust: PeerTrust, allowed_names: tuple[str, ...], remaining: Callable[[float], None]
) -> list[RequestHeaderAuthenticator | CertificateAuthenticator]:
    """In kube-apiserver's order; ``remaining`` is told how many seconds a client's certificate has left."""
    names = RequestHeaderNames(allowed_names=allowed_names)
    return [RequestHeaderAuthenticator(trust.proxies, names), CertificateAuthenticator(trust.clients, remaining)]
