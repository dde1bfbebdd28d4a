"""A worker's files: its keys and certificates, the CA bundles it trusts, what it knows of the cluster.

All lie in ``<data-dir>/agent`` under k3s's names, where a server keeps those of its own node; private, replaced whole.
What is here makes a worker independent of tokens: with good files it never introduces itself again. Functions that
touch files block.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from minikube_py.joining.cluster import ClusterFacts, FactsUnreadable, facts_of
from minikube_py.pki.authorities import KeyPair, load_private_key
from minikube_py.pki.files import make_private_directory, read_file, write_file, write_files
from minikube_py.pki.layout import pki_files
from minikube_py.pki.signing import backdate_seconds, short_seconds

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from minikube_py.pki.certificates import SigningKey

NODE_PREFIX = "system:node:"
_DAY = 24 * 3600.0
_PLACEHOLDER_SECONDS = 30 * _DAY
_EARLIEST_SHARE, _SHARE_SPREAD = 0.7, 0.2
"""A certificate is renewed after 70 to 90 % of its life, as the kubelet's."""


@dataclass(frozen=True, slots=True)
class NodeFiles:
    """Where everything lies."""

    folder: Path
    client: KeyPair
    serving: KeyPair
    server_ca: Path
    client_ca: Path

    @property
    def cluster(self) -> Path:
        return self.folder / "cluster.json"

    @property
    def lock(self) -> Path:
        """Held by the worker that runs."""
        return self.folder / "lock"


def node_files(data_dir: Path) -> NodeFiles:
    pairs, folder = pki_files(data_dir), data_dir / "agent"
    return NodeFiles(
        folder, pairs["client_kubelet"], pairs["serving_kubelet"], folder / "server-ca.crt", folder / "client-ca.crt"
    )


def save_facts(files: NodeFiles, facts: ClusterFacts) -> bool:
    """Keep what the server told; whether anything of it is new. Raises OSError."""
    contents = {
        files.server_ca: facts.server_ca.encode(),
        files.client_ca: facts.client_ca.encode(),
        files.cluster: orjson.dumps(facts.data(), option=orjson.OPT_INDENT_2),
    }
    make_private_directory(files.folder)
    changed = {path: content for path, content in contents.items() if read_file(path) != content}
    write_files(changed)
    return bool(changed)


def load_facts(files: NodeFiles) -> ClusterFacts | None:
    """What the server told last; None when nothing (usable) is there. Raises OSError."""
    content = read_file(files.cluster)
    if content is None:
        return None
    try:
        return facts_of(orjson.loads(content))
    except (FactsUnreadable, orjson.JSONDecodeError, TypeError):
        return None


def certificate_of(pair: KeyPair) -> Certificate | None:
    """The leaf of a file that fits its key; None when it is missing or useless. Raises OSError, PkiError."""
    from minikube_py.pki.certificates import key_fits, load_certificates_or_none

    found = load_certificates_or_none(read_file(pair.certificate) or b"")
    key = load_private_key(pair.key)
    return found[0] if found and key is not None and key_fits(found[0], key) else None


def finish_renewal(pair: KeyPair) -> None:
    """Put the key in its place whose certificate is there already: what ``renewed`` was interrupted at.

    To be called before anybody uses the pair. Raises OSError, PkiError.
    """
    from minikube_py.pki.certificates import key_fits, load_certificates_or_none

    found = load_certificates_or_none(read_file(pair.certificate) or b"")
    coming = load_private_key(next_key(pair))
    if found and coming is not None and key_fits(found[0], coming):
        next_key(pair).replace(pair.key)


def next_key(pair: KeyPair) -> Path:
    """Where the key of a certificate lies that was asked for and is not here yet."""
    return pair.key.with_name(f"{pair.key.name}.next")


def key_to_ask_with(pair: KeyPair) -> SigningKey:
    """The key of a request under way, else a new one; kept, so that the request is found again after a crash."""
    from minikube_py.pki.certificates import key_pem, new_key

    make_private_directory(pair.key.parent)
    key = load_private_key(next_key(pair))
    if key is None:
        key = new_key()
        write_file(next_key(pair), key_pem(key))
    return key


def renewed(pair: KeyPair, certificate: bytes) -> None:
    """Put a certificate and the key it was asked with in their place; ``finish_renewal`` mends a crash in between."""
    write_file(pair.certificate, certificate)
    next_key(pair).replace(pair.key)


def node_name_of(certificate: Certificate) -> str:
    """The node that a client certificate names; empty for another sort of certificate."""
    from minikube_py.pki.certificates import certificate_subject

    name = certificate_subject(certificate)[0]
    return name.removeprefix(NODE_PREFIX) if name.startswith(NODE_PREFIX) else ""


def has_ended(certificate: Certificate, now: float) -> bool:
    return certificate.not_valid_after_utc.timestamp() <= now


def deadline(certificate: Certificate) -> float:
    """When to ask for the next one (Unix seconds); spread by the serial number: not all nodes ask at once."""
    begin, end = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    if end - begin <= short_seconds + backdate_seconds:
        begin += backdate_seconds  # of a short life the signer's margin at the beginning is no part
    share = _EARLIEST_SHARE + _SHARE_SPREAD * (certificate.serial_number % 1000) / 1000
    return begin + share * max(0.0, end - begin)


def is_of(certificate: Certificate, bundle_file: Path) -> bool:
    """Whether the newest CA of a bundle (its first certificate) signed the certificate. Raises OSError."""
    from minikube_py.pki.certificates import is_issued_by, load_certificates_or_none

    bundle = load_certificates_or_none(read_file(bundle_file) or b"")
    return bundle is not None and is_issued_by(certificate, bundle[0])


def serves(certificate: Certificate, node_name: str, node_ip: str) -> bool:
    """Whether a serving certificate has the node's name and address."""
    from minikube_py.pki.certificates import alternative_names

    names, addresses = alternative_names(certificate)
    return node_name in names and node_ip in addresses


def ensure_placeholder(pair: KeyPair, node_name: str, now: float) -> None:
    """A certificate signed by itself, so that the node API can start; nobody trusts it. Raises OSError, PkiError.

    The real one is asked for when the Node object exists, whose addresses the server compares.
    """
    finish_renewal(pair)
    if certificate_of(pair) is not None:
        return
    from minikube_py.pki import certificates as x

    key = x.new_key()
    own = x.make_authority(f"{node_name} (not yet signed)", now, key)
    subject = x.Subject(common_name=node_name, dns_names=(node_name,))
    leaf = x.issue(own, subject, key.public_key(), [x.SERVER_AUTH], now, _PLACEHOLDER_SECONDS)
    make_private_directory(pair.key.parent)
    write_files({pair.key: x.key_pem(key), pair.certificate: x.certificate_pem(leaf)})
