"""TLS of the listening side: its context, and who a client's certificate says that it is."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Iterator
from typing import cast


def server_context(certificate: bytes, key: bytes, client_ca: bytes | None) -> ssl.SSLContext:
    """TLS 1.2 or newer with ALPN h2; with ``client_ca`` every client must show a certificate of it. PEM.

    Blocks; raises ssl.SSLError for texts that are no certificate or key. The key never touches a disk.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    context.options |= ssl.OP_NO_RENEGOTIATION
    with _memory_file(certificate) as chain, _memory_file(key) as private:
        context.load_cert_chain(chain, private)
    if client_ca is not None:
        context.load_verify_locations(cadata=client_ca.decode("ascii", "replace"))
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@contextlib.contextmanager
def _memory_file(content: bytes) -> Iterator[str]:
    """The path of a file in memory, for what ssl only reads from files."""
    number = os.memfd_create("pyk3s", os.MFD_CLOEXEC)
    try:
        os.write(number, content)
        yield f"/proc/self/fd/{number}"
    finally:
        os.close(number)


def common_name(certificate: dict[str, object] | None) -> str:
    """The subject's common name in ssl's form of a verified certificate."""
    subject = cast(tuple[tuple[tuple[str, str], ...], ...], (certificate or {}).get("subject", ()))
    names = [value for relative in subject for name, value in relative if name == "commonName"]
    return names[0] if names else ""
