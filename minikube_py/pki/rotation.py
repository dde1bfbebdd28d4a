"""Rotation on demand: new keys for leaves, new certificate authorities; ``pyk3s certificate rotate|rotate-ca``.

Everything happens in the data folder; a running server sees the files change and serves the new ones
to new connections, a stopped one finds them at its next start. Old files are kept beside, in
``server/tls-<seconds>`` (0700). All functions block. Errors: ``PkiError``, OSError.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minikube_py.machinery.clock import Clock
from minikube_py.pki.authorities import (
    AUTHORITIES,
    KeyPair,
    LoadedAuthority,
    is_complete,
    load_authority,
    new_authority,
    succeed,
)
from minikube_py.pki.errors import PkiError
from minikube_py.pki.files import make_private_directory, only_one, read_file, write_files
from minikube_py.pki.join_tokens import ensure_server_token
from minikube_py.pki.layout import (
    AGENT_BUNDLES,
    LEAF_AUTHORITIES,
    lock_file,
    open_floor,
    pki_files,
    service_key_file,
)
from minikube_py.pki.time_floor import TimeFloor

log = logging.getLogger(__name__)

SERVICES = {
    "admin": ("client_admin",),
    "api-server": ("serving_kube_apiserver", "client_kube_apiserver"),
    "auth-proxy": ("client_auth_proxy",),
    "controller-manager": ("client_controller",),
    "scheduler": ("client_scheduler",),
    "kubelet": ("client_kubelet", "serving_kubelet"),
    "kube-proxy": ("client_kube_proxy",),
}
"""k3s's names of services, and the leaves that each stands for."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """What was replaced, and where the old files are."""

    names: tuple[str, ...]
    backup: Path


def service_leaves(services: Sequence[str]) -> tuple[str, ...]:
    """The leaves of k3s's service names; all for none. Raises PkiError for an unknown name."""
    for service in services:
        if service not in SERVICES:
            raise PkiError(f"unknown service {service!r}; known are {', '.join(SERVICES)}")
    return tuple(leaf for service in services or SERVICES for leaf in SERVICES[service])


def rotate_leaves(data_dir: Path, clock: Clock, services: Sequence[str] = ()) -> Rotated:
    """New keys and certificates with the names that the old ones have."""
    files, wanted = _existing(data_dir), service_leaves(services)
    with only_one(lock_file(data_dir)):
        floor = open_floor(data_dir, clock)
        now = floor.now()
        contents: dict[Path, bytes] = {}
        for name in wanted:
            contents |= _reissue(files[name], _authority(files[LEAF_AUTHORITIES[name]], now), floor)
        backup = _back_up(data_dir, list(contents), now)
        write_files(contents)
    return Rotated(tuple(name.replace("_", "-") for name in wanted), backup)


def rotate_authorities(
    data_dir: Path, clock: Clock, *, source: Path | None = None, force: bool = False, distrust_old: bool = False
) -> Rotated:
    """New CAs, made here or taken from ``source``, and new leaves under all of them.

    The old CA signs the new one, and stays in the bundle until it expires, unless ``distrust_old``.
    ``force`` goes on where that cannot be done (an expired CA, a lost key) or a given CA ends soon.
    ``source`` holds files of the names in ``server/tls`` (or such a folder ``tls``); those missing stay.
    """
    files = _existing(data_dir)
    with only_one(lock_file(data_dir)):
        floor = open_floor(data_dir, clock)
        now = floor.now()
        replaced = _given(source, now, force) if source else dict.fromkeys(AUTHORITIES)
        contents: dict[Path, bytes] = {}
        authorities: dict[str, LoadedAuthority] = {}
        for name in AUTHORITIES:
            if name in replaced:
                authorities[name] = _replaced(name, files[name], replaced[name], floor, force, distrust_old)
                contents |= authorities[name].contents(files[name], replaces=True)
            else:
                authorities[name] = _authority(files[name], now)
        leaves = [leaf for leaf, ca in LEAF_AUTHORITIES.items() if ca in replaced]
        for leaf in leaves:
            contents |= _reissue(files[leaf], authorities[LEAF_AUTHORITIES[leaf]], floor)
        for name in AGENT_BUNDLES:
            if name in replaced:
                bundle = data_dir / "agent" / files[name].certificate.name
                contents[bundle] = contents[files[name].certificate]
        names = [*replaced, *leaves]
        if source and (key := _given_service_key(source, service_key_file(data_dir))):
            contents[service_key_file(data_dir)] = key
            names.append("service_key")
        backup = _back_up(data_dir, list(contents), now)
        write_files(contents)
    ensure_server_token(data_dir, files["server_ca"].certificate)
    return Rotated(tuple(name.replace("_", "-") for name in names), backup)


def _existing(data_dir: Path) -> dict[str, KeyPair]:
    files = pki_files(data_dir)
    if not files["server_ca"].certificate.exists():
        raise PkiError(f"there are no certificates in {data_dir}: start `pyk3s server` once, or give --data-dir")
    return files


def _authority(pair: KeyPair, now: float) -> LoadedAuthority:
    found = load_authority(pair, now)
    if found is None:
        raise PkiError(f"{pair.certificate} is missing: restart the server, which makes it anew from its key")
    return found


def _replaced(
    name: str, pair: KeyPair, given: LoadedAuthority | None, floor: TimeFloor, force: bool, distrust_old: bool
) -> LoadedAuthority:
    """The successor of the CA on disk: the given one, or one that is made."""
    now, begins = floor.now(), floor.begin()
    try:
        old: LoadedAuthority | None = _authority(pair, now)
    except PkiError as error:
        if not force:
            raise PkiError(
                f"the old CA cannot vouch for the new one ({error}); --force replaces it all the same"
            ) from None
        log.warning("replacing %s without its signature: %s", pair.certificate, error)
        old = None
    new = given or new_authority(name, now, beside=old.bundle if old else (), begins=begins)
    return new if old is None or distrust_old else succeed(old, new, now, begins=begins)


def _given(source: Path, now: float, force: bool) -> dict[str, LoadedAuthority]:
    """The CAs in a folder, each good to sign with. Raises PkiError, also when there are none."""
    from minikube_py.pki.certificates import renew_before_seconds

    folder = source / "tls" if (source / "tls").is_dir() else source
    found: dict[str, LoadedAuthority] = {}
    for name in AUTHORITIES:
        file_name = name.replace("_", "-")
        pair = KeyPair(folder / f"{file_name}.crt", folder / f"{file_name}.key")
        authority = load_authority(pair, now)
        if authority is None:
            continue
        if not is_complete(authority):
            raise PkiError(
                f"{pair.certificate} lacks the root that signed it: append the root's certificate to the file"
            )
        if authority.signer.certificate.not_valid_before_utc.timestamp() > now:
            raise PkiError(f"{pair.certificate} is not valid yet: set the clock, or wait")
        if authority.ends - now < renew_before_seconds and not force:
            raise PkiError(f"{pair.certificate} expires within 120 days: take a longer one, or use --force")
        found[name] = authority
    if not found and read_file(folder / "service.key") is None:
        raise PkiError(f"{folder} holds no CA: put server-ca.crt and server-ca.key (or client-ca, ...) there")
    return found


def _given_service_key(source: Path, present: Path) -> bytes | None:
    """A new key for service account tokens, followed by the old one, so that old tokens stay good."""
    from minikube_py.pki.service_accounts import load_service_account_tokens

    path = (source / "tls" if (source / "tls").is_dir() else source) / "service.key"
    pem = read_file(path)
    if pem is None:
        return None
    load_service_account_tokens(path, ["https://checked"])
    old = read_file(present) or b""
    return pem if old in pem else pem.rstrip(b"\n") + b"\n" + old


def _reissue(pair: KeyPair, authority: LoadedAuthority, floor: TimeFloor) -> dict[Path, bytes]:
    """A new key and certificate with the old one's subject, names and usages, for as long, a year at most."""
    from cryptography import x509

    from minikube_py.pki import certificates as x

    bundle = x.load_certificates_or_none(read_file(pair.certificate) or b"")
    if not bundle:
        raise PkiError(f"{pair.certificate} cannot be read: restart the server, which makes it anew")
    old = bundle[0]
    common_name, _ = x.certificate_subject(old)
    organizations = tuple(
        str(item.value) for item in old.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    )
    names, addresses = x.alternative_names(old)
    subject = x.Subject(
        common_name=common_name,
        organizations=organizations,
        dns_names=tuple(sorted(names)),
        addresses=tuple(sorted(addresses)),
    )
    usages = list(old.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    key = x.new_key()
    seconds = min(x.lifetime_of(old), x.leaf_lifetime_seconds)
    leaf = x.issue(authority.signer, subject, key.public_key(), usages, floor.now(), seconds, begins=floor.begin())
    return {pair.key: x.key_pem(key), pair.certificate: x.certificate_pem(leaf, *authority.chain())}


def _back_up(data_dir: Path, paths: Sequence[Path], now: float) -> Path:
    """Copy files that are about to be replaced."""
    folder = data_dir / "server" / f"tls-{int(now)}"
    make_private_directory(folder)
    copies = {folder / path.name: content for path in paths if (content := read_file(path)) is not None}
    write_files(copies)
    return folder
