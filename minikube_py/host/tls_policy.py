"""What a TLS server offers: the oldest version and the cipher suites, by Kubernetes' and Go's names.

In: the values of ``--tls-min-version`` and ``--tls-cipher-suites``. Out: settings for an SSLContext. Without a list the
suites are those with an ephemeral key exchange and authenticated encryption; older ones, and TLS 1.0
and 1.1, are not offered at all. As in Kubernetes the list is for TLS 1.2: the suites of TLS 1.3 are all good and
are always there.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass

VERSIONS = {"VersionTLS12": ssl.TLSVersion.TLSv1_2, "VersionTLS13": ssl.TLSVersion.TLSv1_3}

SUITES = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}
"""OpenSSL's names for TLS 1.2's suites."""

_OLDER_NAMES = {
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
}
ALWAYS = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
"""TLS 1.3's suites: may be named, and change nothing."""


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """Made by ``tls_policy``. ``ciphers`` is OpenSSL's list for TLS 1.2."""

    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    ciphers: str = ":".join(SUITES.values())

    def apply(self, context: ssl.SSLContext) -> None:
        """Restrict a server's context. Raises ssl.SSLError when OpenSSL has none of the suites."""
        context.minimum_version = self.minimum
        context.set_ciphers(self.ciphers)
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION


def tls_policy(minimum: str, suites: Sequence[str]) -> TlsPolicy:
    """The policy of two settings; no suites mean the defaults. Raises ValueError for a name that is not offered."""
    if minimum not in VERSIONS:
        raise ValueError(f"TLS version {minimum!r} is not offered; known are {', '.join(VERSIONS)}")
    names = [_OLDER_NAMES.get(name, name) for name in suites]
    for name in names:
        if name not in SUITES and name not in ALWAYS:
            raise ValueError(f"cipher suite {name!r} is not offered; known are {', '.join((*SUITES, *ALWAYS))}")
    chosen = [SUITES[name] for name in names if name in SUITES]
    if names and not chosen:  # only TLS 1.3's are wanted
        return TlsPolicy(ssl.TLSVersion.TLSv1_3)
    return TlsPolicy(VERSIONS[minimum], ":".join(chosen or SUITES.values()))
