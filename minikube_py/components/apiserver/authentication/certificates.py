"""Client certificates: the common name is the user, each organization a group.

TLS has already checked the chain against every CA that a client may use, over intermediates that the client sent;
here it is decided which CA that was, because certificates of the front proxies' CA say nothing about users. A
certificate is judged once and remembered by its bytes, so a request on a kept connection costs one dictionary look-up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minikube_py.components.apiserver.authentication.identity import Now, as_authenticated
from minikube_py.components.apiserver.types import Credentials, UserInfo
from minikube_py.machinery.errors import unauthorized

if TYPE_CHECKING:
    from cryptography import x509

remembered_certificates = 4096
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"


@dataclass(frozen=True, slots=True)
class _Judged:
    user: UserInfo | None
    begins: float
    ends: float
    whole: bool = True
    """Whether the chain was known; without it, a certificate of nobody may yet turn out to be somebody's."""


class CertificateJudge:
    """Recognises certificates that one of the given CA certificates signed, or leads to, for client use."""

    def __init__(self, authorities: Sequence[x509.Certificate], now: Now) -> None:
        self._authorities = tuple(authorities)
        self._now = now
        self._judged: dict[bytes, _Judged] = {}

    def trust(self, authorities: Sequence[x509.Certificate]) -> None:
        """From now on judge by these CA certificates (a rotation); earlier judgements are forgotten."""
        self._authorities = tuple(authorities)
        self._judged.clear()

    def user_of(self, der: bytes, chain: Callable[[], Sequence[bytes]] = tuple) -> UserInfo | None:
        """The certificate's user, None when another CA signed it. ``chain`` gives what TLS verified it over.

        Raises ApiError(401) when ours signed it and it is not valid now.
        """
        judged = self._judged.get(der)
        if judged is None or (judged.user is None and not judged.whole):
            judged = self._judge(der, chain())
            if len(self._judged) >= remembered_certificates:
                self._judged.clear()
            self._judged[der] = judged
        if judged.user is None:
            return None
        if not judged.begins <= self._now() <= judged.ends:
            raise unauthorized()
        return judged.user

    def seconds_left(self, der: bytes) -> float:
        """How long a certificate that was judged stays valid; 0 for any other."""
        judged = self._judged.get(der)
        return judged.ends - self._now() if judged is not None else 0.0

    def _judge(self, der: bytes, chain: Sequence[bytes]) -> _Judged:
        from cryptography import x509

        from minikube_py.pki.certificates import CLIENT_AUTH, certificate_subject, is_issued_by

        try:
            certificate = x509.load_der_x509_certificate(der)
            over = [x509.load_der_x509_certificate(one) for one in chain]
        except ValueError:
            return _Judged(None, 0.0, 0.0)
        if not any(is_issued_by(certificate, authority) for authority in self._authorities):
            between = self._between(over)
            if between is None:
                return _Judged(None, 0.0, 0.0, whole=bool(chain))
        else:
            between = []
        try:
            usages = list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        except x509.ExtensionNotFound:
            usages = []
        name, _ = certificate_subject(certificate)
        if CLIENT_AUTH not in usages or not name:
            return _Judged(None, 0.0, 0.0)
        organizations = certificate.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
        groups = tuple(str(item.value) for item in organizations)
        extra = {CREDENTIAL_ID: (f"X509SHA256={hashlib.sha256(der).hexdigest()}",)}
        dated = [certificate, *between]
        return _Judged(
            as_authenticated(UserInfo(name, groups, extra=extra)),
            max(one.not_valid_before_utc.timestamp() for one in dated),
            min(one.not_valid_after_utc.timestamp() for one in dated),
        )

    def _between(self, over: Sequence[x509.Certificate]) -> Sequence[x509.Certificate] | None:
        """The intermediates of a verified chain that ends at one of our CAs; None when it does not.

        TLS has checked signatures and constraints, but no times (``host.tls.ignore_times``).
        """
        for count, authority in enumerate(over):
            if authority in self._authorities:
                return over[:count]
        return None


class CertificateAuthenticator:
    """Users by certificates of the client CA."""

    def __init__(self, judge: CertificateJudge, remaining: Callable[[float], None] | None = None) -> None:
        """``remaining`` is told how many seconds are left of each certificate that is accepted."""
        self._judge = judge
        self._remaining = remaining

    async def authenticate(self, credentials: Credentials) -> UserInfo | None:
        if not credentials.peer_certificate_der:
            return None
        user = self._judge.user_of(credentials.peer_certificate_der, credentials.peer_chain)
        if user is not None and self._remaining is not None:
            self._remaining(self._judge.seconds_left(credentials.peer_certificate_der))
        return user
