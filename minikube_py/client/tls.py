"""Client TLS contexts: who is believed and what is shown; the one place that makes them.

In: PEM texts, as kubeconfig files, CA bundles and credential files give them. Out: a context for TLS 1.2 or newer that
verifies names, unless told otherwise. Keys never touch a disk. As ``rest.TLSClientConfig`` of client-go.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minikube_py.client.kubeconfig import Connection


def client_context(
    *, ca_pem: bytes = b"", cert_pem: bytes = b"", key_pem: bytes = b"", insecure: bool = False
) -> ssl.SSLContext:
    """A context that trusts a bundle (the system's without one) and shows a certificate, if there is one.

    ``insecure`` believes everybody. Blocks: the system's bundle takes milliseconds. Raises OSError (ssl.SSLError
    is one) for texts that cannot be used.
    """
    if insecure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context = ssl.create_default_context(cadata=_bundle(ca_pem) if ca_pem else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert_pem:
        with _memory_file(cert_pem + b"\n" + key_pem) as path:
            context.load_cert_chain(path)
    return context


def files_context(ca_file: str, cert_file: str, key_file: str, *, insecure: bool = False) -> ssl.SSLContext:
    """``client_context`` of files; an empty name means none. Blocks. Raises OSError."""
    ca_pem, cert_pem, key_pem = (Path(name).read_bytes() if name else b"" for name in (ca_file, cert_file, key_file))
    return client_context(ca_pem=ca_pem, cert_pem=cert_pem, key_pem=key_pem, insecure=insecure)


def connection_context(connection: Connection) -> ssl.SSLContext:
    """``client_context`` of a kubeconfig's cluster and user. Blocks. Raises OSError."""
    return client_context(
        ca_pem=connection.ca_pem,
        cert_pem=connection.cert_pem,
        key_pem=connection.key_pem,
        insecure=connection.insecure,
    )


def _bundle(pem: bytes) -> str:
    """As text; comments around the certificates may be in any language. Raises ssl.SSLError for no text at all."""
    text = pem.decode("ascii", "ignore")
    if not text.strip():  # ssl would take an empty bundle for none and trust the system's
        raise ssl.SSLError("the CA bundle holds no PEM block")
    return text


@contextmanager
def _memory_file(content: bytes) -> Iterator[str]:
    """The path of a file in memory: ssl reads certificates and keys from files only."""
    number = os.memfd_create("pyk3s", os.MFD_CLOEXEC)
    try:
        os.write(number, content)
        yield f"/proc/self/fd/{number}"
    finally:
        os.close(number)
