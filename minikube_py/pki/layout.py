"""Which certificates a server has, where they lie, and how they come to be.

In: the data directory and the names under which this server and node are reached. Out: a ``Pki``
with the paths of everything. File names are k3s's: ``<data-dir>/server/tls`` holds the CAs, the API
server's certificates and those of the control plane's clients; ``<data-dir>/agent`` holds what a node
needs. Directories are 0700, files 0600.

Promises: what exists and is good is left alone (a call that has nothing to do only reads); a leaf
that has a third of its life left, 120 days at most, or lacks a name, or was signed by another CA, is issued
anew with its old key; a CA of our own that ends within a year is succeeded by a new one that it signs
(``authorities``). A CA that was put in place beforehand is used, given that its key is there. Calls in other
processes wait for each other. Errors: ``PkiError`` for a file that cannot be used; OSError of the file system.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from minikube_py.machinery.clock import Clock
from minikube_py.pki.authorities import (
    AUTHORITIES,
    KeyPair,
    LoadedAuthority,
    due_for_succession,
    living,
    load_authority,
    load_private_key,
    new_authority,
    own_name_prefix,
    succeed,
)
from minikube_py.pki.errors import PkiError
from minikube_py.pki.files import make_private_directory, only_one, read_file, write_files
from minikube_py.pki.time_floor import TimeFloor

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from minikube_py.pki.certificates import SigningKey, Subject

log = logging.getLogger(__name__)

year_seconds = 365 * 24 * 3600.0


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leaf:
    """One leaf certificate: ``attribute`` of ``Pki``, and whom it names."""

    attribute: str
    common_name: str
    organizations: tuple[str, ...] = ()
    serves: bool = False
    dns_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        return self.attribute.replace("_", "-")


LEAF_AUTHORITIES = {
    "serving_kube_apiserver": "server_ca",
    "client_kube_apiserver": "client_ca",
    "client_auth_proxy": "request_header_ca",
    "client_admin": "client_ca",
    "client_controller": "client_ca",
    "client_scheduler": "client_ca",
    "client_kubelet": "client_ca",
    "serving_kubelet": "server_ca",
    "client_kube_proxy": "client_ca",
}
"""Every leaf (an attribute of ``Pki``) and the CA that signs it."""
_AGENT_LEAVES = frozenset({"client_kubelet", "serving_kubelet", "client_kube_proxy"})
AGENT_BUNDLES = ("server_ca", "client_ca")
"""CAs whose bundles nodes find in their own folder."""


def pki_files(data_dir: Path) -> dict[str, KeyPair]:
    """Where each authority and leaf lies, by its name in ``Pki``."""
    tls, agent = data_dir / "server" / "tls", data_dir / "agent"
    names = (*AUTHORITIES, *LEAF_AUTHORITIES)
    return {name: _pair(agent if name in _AGENT_LEAVES else tls, name.replace("_", "-")) for name in names}


def service_key_file(data_dir: Path) -> Path:
    return data_dir / "server" / "tls" / "service.key"


def lock_file(data_dir: Path) -> Path:
    """Held by whoever changes the PKI."""
    return data_dir / "server" / "pki.lock"


def open_floor(data_dir: Path, clock: Clock) -> TimeFloor:
    """The time floor of a data folder, raised by what its CAs say about the past."""
    floor = TimeFloor(data_dir / "server" / "clock-floor", clock)
    _learn_from_authorities(floor, pki_files(data_dir))
    return floor


@dataclass(slots=True)
class _Build:
    """What one run of ``ensure_pki`` has found and made; files are written at its end in one batch."""

    now: float
    begins: float
    """When what is issued begins (``TimeFloor.begin``)."""
    leaf_seconds: float
    authorities: dict[str, LoadedAuthority] = field(default_factory=dict)
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
    leaf_seconds: float = year_seconds,
) -> Pki:
    """Create or complete the PKI of a server (see the module text). Blocks; a first start takes about 30 ms.

    ``node_ips`` are this host's addresses, ``sans`` further names or addresses of the API,
    ``service_ip`` the address of the ``kubernetes`` Service. ``leaf_seconds`` is the life of what is issued now.
    """
    data_dir = Path(data_dir)
    tls, agent = data_dir / "server" / "tls", data_dir / "agent"
    for directory in (data_dir / "server", tls, agent):
        make_private_directory(directory)
    pairs, service_key = pki_files(data_dir), service_key_file(data_dir)
    with only_one(lock_file(data_dir)):
        floor = open_floor(data_dir, clock)
        build = _Build(now=floor.now(), begins=floor.begin(), leaf_seconds=leaf_seconds)
        for name in AUTHORITIES:
            try:
                _ensure_authority(build, name, pairs[name])
            except PkiError as error:
                report = floor.report()
                raise PkiError(f"{error}; {report}" if report else str(error)) from error
        for leaf in _leaves(node_name, node_ips, sans, service_ip, cluster_domain):
            _ensure_leaf(build, leaf, pairs[leaf.attribute])
        _ensure_service_key(build, service_key)
        for name in AGENT_BUNDLES:
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
            common_name="kube-apiserver",
            serves=True,
            dns_names=api_names,
            addresses=api_addresses,
        ),
        _Leaf(
            attribute="client_kube_apiserver",
            common_name="system:apiserver",
            organizations=("system:masters",),
        ),
        _Leaf(attribute="client_auth_proxy", common_name="system:auth-proxy"),
        _Leaf(attribute="client_admin", common_name="system:admin", organizations=("system:masters",)),
        _Leaf(attribute="client_controller", common_name="system:kube-controller-manager"),
        _Leaf(attribute="client_scheduler", common_name="system:kube-scheduler"),
        _Leaf(
            attribute="client_kubelet",
            common_name=f"system:node:{node_name}",
            organizations=("system:nodes",),
        ),
        _Leaf(
            attribute="serving_kubelet",
            common_name=node_name,
            serves=True,
            dns_names=_unique([node_name, "localhost"]),
            addresses=node_addresses,
        ),
        _Leaf(attribute="client_kube_proxy", common_name="system:kube-proxy"),
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
    from minikube_py.pki.certificates import backdate_seconds, certificate_subject, load_certificates_or_none

    for name in AUTHORITIES:
        pem = read_file(pairs[name].certificate)
        if pem is None:
            continue
        certificates = load_certificates_or_none(pem)
        if not certificates:
            continue  # told with its file's name when the authority is loaded
        is_own = certificate_subject(certificates[0])[0].startswith(own_name_prefix)
        floor.raise_to(certificates[0].not_valid_before_utc.timestamp() + (backdate_seconds if is_own else 0.0))


def _ensure_authority(build: _Build, name: str, pair: KeyPair) -> None:
    from minikube_py.pki.certificates import renew_before_seconds

    found = load_authority(pair, build.now)
    if found is None:
        made = new_authority(name, build.now, load_private_key(pair.key), begins=build.begins)
    elif due_for_succession(found) <= build.now:
        fresh = new_authority(name, build.now, beside=found.bundle, begins=build.begins)
        made = succeed(found, fresh, build.now, begins=build.begins)
    else:
        build.authorities[name] = found
        if found.ends - build.now < renew_before_seconds:
            log.warning("%s ends soon: bring a new CA with `pyk3s certificate rotate-ca --path`", pair.certificate)
        if len(remaining := living(found.bundle, build.now)) < len(found.bundle):
            build.authorities[name] = LoadedAuthority(found.signer, remaining)
            build.contents |= build.authorities[name].contents(pair, replaces=True)
        return
    build.authorities[name] = made
    build.contents |= made.contents(pair, replaces=found is not None)
    build.issued.append(name.replace("_", "-"))


def _ensure_leaf(build: _Build, leaf: _Leaf, pair: KeyPair) -> None:
    from minikube_py.pki import certificates as x

    subject = x.Subject(
        common_name=leaf.common_name,
        organizations=leaf.organizations,
        dns_names=leaf.dns_names,
        addresses=leaf.addresses,
    )
    key, pem = load_private_key(pair.key), read_file(pair.certificate)
    authority = build.authorities[LEAF_AUTHORITIES[leaf.attribute]]
    kept = _good_leaf(build, authority, subject, key, pem) if key is not None and pem is not None else None
    if kept is None:
        if key is None:
            key = x.new_key()
            build.contents[pair.key] = x.key_pem(key)
        usages = [x.SERVER_AUTH] if leaf.serves else [x.CLIENT_AUTH]
        kept = x.issue(
            authority.signer, subject, key.public_key(), usages, build.now, build.leaf_seconds, begins=build.begins
        )
        build.issued.append(leaf.file_name)
    wanted = x.certificate_pem(kept, *authority.chain())
    if pem is None or x.load_certificates_or_none(pem) != x.load_certificates(wanted):
        build.contents[pair.certificate] = wanted


def _good_leaf(
    build: _Build, authority: LoadedAuthority, subject: Subject, key: SigningKey, pem: bytes
) -> Certificate | None:
    """The leaf of a file when nothing asks for a new one."""
    from minikube_py.pki import certificates as x

    found = x.load_certificates_or_none(pem)
    if not found or not x.key_fits(found[0], key):
        return None
    reason = x.renewal_reason(found[0], authority.signer.certificate, subject, build.now, build.begins)
    return None if reason else found[0]


def _ensure_service_key(build: _Build, path: Path) -> None:
    from minikube_py.pki.certificates import key_pem, new_key

    if read_file(path) is None:
        build.contents[path] = key_pem(new_key())


def _copy_bundle(build: _Build, name: str, path: Path) -> None:
    """Nodes find the CA bundles that they trust in their own folder."""
    from minikube_py.pki.certificates import certificate_pem

    wanted = certificate_pem(*build.authorities[name].bundle)
    if read_file(path) != wanted:
        build.contents[path] = wanted
