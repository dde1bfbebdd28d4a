"""Which certificates a server has, where they lie, and how they come to be.

In: the data directory and the names under which this server and node are reached. Out: a ``Pki``
with the paths of everything. File names are k3s's: ``<data-dir>/server/tls`` holds the CAs, the API
server's certificates and those of the control plane's clients; ``<data-dir>/agent`` holds what a node
needs. Directories are 0700, files 0600.

Promises: what exists and is good is left alone (a start that has nothing to do only reads); a leaf
that expires within 120 days, or lacks a name, or was signed by another CA, is issued anew with its old
key; a CA is never replaced here. A CA that was put in place beforehand is used, given that its key is
there. Errors: ``PkiError`` for a file that cannot be used; OSError of the file system.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from minikube_py.machinery.clock import Clock
from minikube_py.pki.errors import PkiError
from minikube_py.pki.files import make_private_directory, read_file, write_files
from minikube_py.pki.time_floor import TimeFloor

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from minikube_py.pki.certificates import Authority, SigningKey, Subject

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Where a certificate and its key lie."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Pki:
    """The files of a server. ``issued`` names what this start created or renewed."""

    data_dir: Path
    server_ca: KeyPair
    client_ca: KeyPair
    request_header_ca: KeyPair
    serving_kube_apiserver: KeyPair
    client_kube_apiserver: KeyPair
    """What the API server shows to kubelets."""
    client_auth_proxy: KeyPair
    """What the API server shows to aggregated API servers (signed by the request-header CA)."""
    client_admin: KeyPair
    client_controller: KeyPair
    client_scheduler: KeyPair
    client_kubelet: KeyPair
    serving_kubelet: KeyPair
    client_kube_proxy: KeyPair
    service_key: Path
    """Signs service account tokens."""
    floor: TimeFloor
    issued: tuple[str, ...] = ()

    @property
    def server_dir(self) -> Path:
        return self.data_dir / "server"

    @property
    def agent_dir(self) -> Path:
        return self.data_dir / "agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leaf:
    """One leaf certificate: ``attribute`` of ``Pki``, its CA, and whom it names."""

    attribute: str
    ca: str
    common_name: str
    organizations: tuple[str, ...] = ()
    serves: bool = False
    agent: bool = False
    dns_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        return self.attribute.replace("_", "-")


_AUTHORITIES = ("server_ca", "client_ca", "request_header_ca")


@dataclass(slots=True)
class _Build:
    """What one run of ``ensure_pki`` has found and made; files are written at its end in one batch."""

    now: float
    authorities: dict[str, Authority] = field(default_factory=dict)
    bundles: dict[str, list[Certificate]] = field(default_factory=dict)
    contents: dict[Path, bytes] = field(default_factory=dict)
    issued: list[str] = field(default_factory=list)


def ensure_pki(
    data_dir: Path | str,
    *,
    node_name: str,
    node_ips: Sequence[str],
    sans: Sequence[str] = (),
    service_ip: str,
    cluster_domain: str = "cluster.local",
    clock: Clock,
) -> Pki:
    """Create or complete the PKI of a server (see the module text). Blocks; a first start takes about 30 ms.

    ``node_ips`` are this host's addresses, ``sans`` further names or addresses of the API,
    ``service_ip`` the address of the ``kubernetes`` Service.
    """
    data_dir = Path(data_dir)
    tls, agent = data_dir / "server" / "tls", data_dir / "agent"
    for directory in (data_dir / "server", tls, agent):
        make_private_directory(directory)
    floor = TimeFloor(data_dir / "server" / "clock-floor", clock)
    pairs = {name: _pair(tls, name.replace("_", "-")) for name in _AUTHORITIES}
    leaves = _leaves(node_name, node_ips, sans, service_ip, cluster_domain)
    for leaf in leaves:
        pairs[leaf.attribute] = _pair(agent if leaf.agent else tls, leaf.file_name)
    _learn_from_authorities(floor, pairs)

    build = _Build(now=floor.now())
    for name in _AUTHORITIES:
        _ensure_authority(build, name, pairs[name])
    for leaf in leaves:
        _ensure_leaf(build, leaf, pairs[leaf.attribute])
    service_key = tls / "service.key"
    _ensure_service_key(build, service_key)
    for name in ("server_ca", "client_ca"):
        _copy_bundle(build, name, agent / f"{name.replace('_', '-')}.crt")

    write_files(build.contents)
    floor.record(force=floor.lag_seconds == 0 and bool(build.contents))
    if report := floor.report():
        log.warning("%s", report)
    if build.issued:
        log.info("issued certificates: %s", ", ".join(build.issued))
    return Pki(data_dir=data_dir, service_key=service_key, floor=floor, issued=tuple(build.issued), **pairs)


def _pair(directory: Path, name: str) -> KeyPair:
    return KeyPair(directory / f"{name}.crt", directory / f"{name}.key")


def _leaves(
    node_name: str, node_ips: Sequence[str], sans: Sequence[str], service_ip: str, cluster_domain: str
) -> tuple[_Leaf, ...]:
    extra_addresses = [text for text in sans if _is_address(text)]
    extra_names = [text for text in sans if not _is_address(text)]
    service = "kubernetes.default.svc"
    service_names = ["kubernetes", "kubernetes.default", service, f"{service}.{cluster_domain}"]
    api_names = _unique([*service_names, "localhost", node_name, *extra_names])
    api_addresses = _unique(["127.0.0.1", "::1", service_ip, *node_ips, *extra_addresses])
    node_addresses = _unique(["127.0.0.1", *node_ips])
    return (
        _Leaf(
            attribute="serving_kube_apiserver",
            ca="server_ca",
            common_name="kube-apiserver",
            serves=True,
            dns_names=api_names,
            addresses=api_addresses,
        ),
        _Leaf(
            attribute="client_kube_apiserver",
            ca="client_ca",
            common_name="system:apiserver",
            organizations=("system:masters",),
        ),
        _Leaf(attribute="client_auth_proxy", ca="request_header_ca", common_name="system:auth-proxy"),
        _Leaf(attribute="client_admin", ca="client_ca", common_name="system:admin", organizations=("system:masters",)),
        _Leaf(attribute="client_controller", ca="client_ca", common_name="system:kube-controller-manager"),
        _Leaf(attribute="client_scheduler", ca="client_ca", common_name="system:kube-scheduler"),
        _Leaf(
            attribute="client_kubelet",
            ca="client_ca",
            common_name=f"system:node:{node_name}",
            organizations=("system:nodes",),
            agent=True,
        ),
        _Leaf(
            attribute="serving_kubelet",
            ca="server_ca",
            common_name=node_name,
            serves=True,
            agent=True,
            dns_names=_unique([node_name, "localhost"]),
            addresses=node_addresses,
        ),
        _Leaf(attribute="client_kube_proxy", ca="client_ca", common_name="system:kube-proxy", agent=True),
    )


def _unique(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _learn_from_authorities(floor: TimeFloor, pairs: dict[str, KeyPair]) -> None:
    """A CA's beginning has passed for certain, whatever the clock says (the floor's file may be lost)."""
    from minikube_py.pki.certificates import backdate_seconds, load_certificates

    for name in _AUTHORITIES:
        pem = read_file(pairs[name].certificate)
        if pem is None:
            continue
        try:
            certificates = load_certificates(pem)
        except ValueError:
            continue  # told with its file's name when the authority is loaded
        floor.raise_to(certificates[0].not_valid_before_utc.timestamp() + backdate_seconds)


def _ensure_authority(build: _Build, name: str, pair: KeyPair) -> None:
    from minikube_py.pki import certificates as x

    key = _load_key(pair.key)
    pem = read_file(pair.certificate)
    if pem is not None:
        try:
            bundle = x.load_certificates(pem)
        except ValueError as error:
            raise PkiError(f"{pair.certificate} is not a PEM certificate: restore it from a backup") from error
        if key is None:
            raise PkiError(f"{pair.key} is missing: the CA needs its key, restore it from a backup")
        signer = next((certificate for certificate in bundle if x.key_fits(certificate, key)), None)
        if signer is None:
            raise PkiError(f"{pair.key} does not belong to {pair.certificate}: restore the pair from a backup")
        if signer.not_valid_after_utc.timestamp() <= build.now:
            raise PkiError(f"{pair.certificate} has expired: replace the CA with `pyk3s certificate rotate-ca`")
        build.authorities[name], build.bundles[name] = x.Authority(signer, key), bundle
        return
    authority = x.make_authority(f"pyk3s-{name.replace('_', '-')}@{int(build.now)}", build.now, key)
    build.authorities[name], build.bundles[name] = authority, [authority.certificate]
    # The key first: a crash between the two renames leaves a key from which the certificate is made anew.
    build.contents[pair.key] = x.key_pem(authority.key)
    build.contents[pair.certificate] = x.certificate_pem(authority.certificate)
    build.issued.append(name.replace("_", "-"))


def _ensure_leaf(build: _Build, leaf: _Leaf, pair: KeyPair) -> None:
    from minikube_py.pki import certificates as x

    subject = x.Subject(
        common_name=leaf.common_name,
        organizations=leaf.organizations,
        dns_names=leaf.dns_names,
        addresses=leaf.addresses,
    )
    key = _load_key(pair.key)
    pem = read_file(pair.certificate)
    if key is not None and pem is not None and not _leaf_problem(build, leaf, subject, key, pem):
        return
    if key is None:
        key = x.new_key()
        build.contents[pair.key] = x.key_pem(key)
    authority = build.authorities[leaf.ca]
    usages = [x.SERVER_AUTH] if leaf.serves else [x.CLIENT_AUTH]
    certificate = x.issue(authority, subject, key.public_key(), usages, build.now)
    build.contents[pair.certificate] = x.certificate_pem(certificate, authority.certificate)
    build.issued.append(leaf.file_name)


def _leaf_problem(build: _Build, leaf: _Leaf, subject: Subject, key: SigningKey, pem: bytes) -> str:
    """Why an existing leaf is replaced, or the empty string."""
    from minikube_py.pki import certificates as x

    try:
        certificate = x.load_certificates(pem)[0]
    except ValueError:
        return "it is not a certificate"
    if not x.key_fits(certificate, key):
        return "it does not belong to its key"
    return x.renewal_reason(certificate, build.bundles[leaf.ca], subject, build.now)


def _load_key(path: Path) -> SigningKey | None:
    from minikube_py.pki.certificates import load_key

    pem = read_file(path)
    if pem is None:
        return None
    try:
        return load_key(pem)
    except ValueError as error:
        raise PkiError(f"{path} is not a private key ({error}): restore it from a backup") from error


def _ensure_service_key(build: _Build, path: Path) -> None:
    from minikube_py.pki.certificates import key_pem, new_key

    if read_file(path) is None:
        build.contents[path] = key_pem(new_key())


def _copy_bundle(build: _Build, name: str, path: Path) -> None:
    """Nodes find the CA bundles that they trust in their own folder."""
    from minikube_py.pki.certificates import certificate_pem

    wanted = certificate_pem(*build.bundles[name])
    if read_file(path) != wanted:
        build.contents[path] = wanted
