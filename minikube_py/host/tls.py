"""TLS contexts that live with certificate rotation and with clocks that are wrong.

``ServerTls`` is for a server that goes on listening while its certificate or the trusted client CAs are
replaced: after ``exchange`` every new handshake runs on the newest context; open connections keep
theirs. The exchange is atomic, so a certificate is never seen without its key. Settings that OpenSSL
fixes before it knows the peer (versions, whether a certificate is asked for, verification flags) are
those of the first context, so ``make`` must always set them alike.

A board without a battery clock boots in 1970, when every certificate is "not yet valid". A
certificate of our own that has not begun proves that the clock is behind; then, and only then, OpenSSL
must not compare times (``ignore_times``).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path

from minikube_py.host.file_changes import Signature, file_changes
from minikube_py.machinery.clock import Clock

log = logging.getLogger(__name__)

X509_V_FLAG_NO_CHECK_TIME = 0x200000
"""OpenSSL's flag, which the ssl module does not name."""


class ServerTls:
    """``make`` builds a server context from files; it blocks, and raises OSError (ssl.SSLError is one)."""

    def __init__(self, make: Callable[[], ssl.SSLContext]) -> None:
        self._make = make
        self._newest = make()
        self.context = self._newest

    async def exchange(self) -> None:
        """Build the context anew for all later handshakes; on an error the present one stays."""
        newest = await asyncio.to_thread(self._make)
        self._newest = newest
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, server_name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._newest


async def follow_files(tls: ServerTls, files: Sequence[Path], clock: Clock, *, since: Signature) -> None:
    """Until cancelled: exchange whenever one of the files has changed; what cannot be used is logged, the former stays.

    ``since`` is the ``signature_of`` the files before ``tls`` was made of them.
    """
    async with aclosing(file_changes(files, clock, since=since)) as changes:
        async for _ in changes:
            try:
                await tls.exchange()
            except OSError as error:
                log.error("new certificates cannot be used; the former stay", extra={"error": str(error)})


def ignore_times(context: ssl.SSLContext) -> None:
    """Let handshakes pass whatever the clock says; the caller judges times itself, or knows the clock is wrong."""
    context.verify_flags |= X509_V_FLAG_NO_CHECK_TIME


def begins(certificate: Path) -> float:
    """When the first certificate of a file begins (Unix seconds). Blocks. Raises OSError, ValueError."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_before_utc.timestamp()
