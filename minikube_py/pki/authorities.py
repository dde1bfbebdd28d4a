"""The cluster's certificate authorities: found on disk, made on first start, succeeded before they end.

A CA's file is a bundle: first the certificate that signs (its key lies beside it), then what verifiers
need besides: intermediates, the cross-signed certificates of a succession, and earlier roots until
they expire. Peers that hold the old bundle verify new leaves over the cross-signed certificate; peers
with the new bundle verify old leaves against the earlier root. So a succession cuts nobody off.

Only CAs that this project made are succeeded by themselves (their common name begins with ``pyk3s-``);
whoever brings a CA along renews it with ``pyk3s certificate rotate-ca``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minikube_py.pki.errors import PkiError
from minikube_py.pki.files import read_file

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from minikube_py.pki.certificates import Authority, SigningKey

AUTHORITIES = ("server_ca", "client_ca", "request_header_ca")
own_name_prefix = "pyk3s-"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Where a certificate and its key lie."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class LoadedAuthority:
    """A CA that can sign, and the bundle that verifies what it and its predecessors signed."""

    signer: Authority
    bundle: tuple[Certificate, ...]

    @property
    def ends(self) -> float:
        """When the signing certificate ends (Unix seconds)."""
        return self.signer.certificate.not_valid_after_utc.timestamp()

    @property
    def is_own(self) -> bool:
        """Whether this project made the CA, and so may succeed it."""
        from minikube_py.pki.certificates import certificate_subject, is_self_signed

        certificate = self.signer.certificate
        return certificate_subject(certificate)[0].startswith(own_name_prefix) and is_self_signed(certificate)

    def contents(self, pair: KeyPair, *, replaces: bool = False) -> dict[Path, bytes]:
        """The files' contents in the order in which a crash between two files does least harm.

        From a key alone the certificate is made anew. Where a CA is there already (``replaces``), the new
        bundle still holds the certificate of the old key, which then signs until the next attempt.
        """
        from minikube_py.pki.certificates import certificate_pem, key_pem

        key = {pair.key: key_pem(self.signer.key)}
        certificate = {pair.certificate: certificate_pem(*self.bundle)}
        return certificate | key if replaces else key | certificate

    def chain(self) -> list[Certificate]:
        """What a leaf's file holds after the leaf."""
        from minikube_py.pki.certificates import sent_chain

        return sent_chain(self.signer.certificate, self.bundle)


def load_authority(pair: KeyPair, now: float, *, may_be_expired: bool = False) -> LoadedAuthority | None:
    """The CA of a key pair; None when there is no certificate. Raises PkiError for one that cannot sign."""
    from minikube_py.pki import certificates as x

    pem = read_file(pair.certificate)
    if pem is None:
        return None
    try:
        bundle = x.load_certificates(pem)
    except ValueError as error:
        raise PkiError(f"{pair.certificate} is not a PEM certificate: restore it from a backup") from error
    key = load_private_key(pair.key)
    if key is None:
        raise PkiError(f"{pair.key} is missing: the CA needs its key, restore it from a backup")
    signer = next((certificate for certificate in bundle if x.key_fits(certificate, key)), None)
    if signer is None:
        raise PkiError(f"{pair.key} does not belong to {pair.certificate}: restore the pair from a backup")
    if not x.is_authority(signer):
        raise PkiError(f"{pair.certificate} is not a CA certificate (CA:TRUE): put one in its place")
    if signer.not_valid_after_utc.timestamp() <= now and not may_be_expired:
        raise PkiError(
            f"{pair.certificate} has expired: replace the CA with `pyk3s certificate rotate-ca --force`, "
            "or set the clock if it is wrong"
        )
    return LoadedAuthority(x.Authority(signer, key), tuple(bundle))


def load_private_key(path: Path) -> SigningKey | None:
    """The key of a file; None when there is none. Raises PkiError when it is no key."""
    from minikube_py.pki.certificates import load_key

    pem = read_file(path)
    if pem is None:
        return None
    try:
        return load_key(pem)
    except ValueError as error:
        raise PkiError(f"{path} is not a private key ({error}): restore it from a backup") from error


def new_authority(
    name: str,
    now: float,
    key: SigningKey | None = None,
    *,
    beside: Sequence[Certificate] = (),
    begins: float | None = None,
) -> LoadedAuthority:
    """A self-signed CA named after its role and its first second; no name in ``beside`` is taken again."""
    from minikube_py.pki.certificates import certificate_subject, make_authority

    taken, second = {certificate_subject(one)[0] for one in beside}, int(now)
    while (common_name := f"{own_name_prefix}{name.replace('_', '-')}@{second}") in taken:
        second += 1
    made = make_authority(common_name, now, key, begins=begins)
    return LoadedAuthority(made, (made.certificate,))


def due_for_succession(authority: LoadedAuthority) -> float:
    """When an own CA is to be succeeded (Unix seconds); infinity for one that was brought along."""
    from minikube_py.pki.certificates import ca_renew_before_seconds

    return authority.ends - ca_renew_before_seconds if authority.is_own else float("inf")


def succeed(old: LoadedAuthority, new: LoadedAuthority, now: float, *, begins: float | None = None) -> LoadedAuthority:
    """``new`` as the signer, cross-signed by ``old``, with everything that verified before and has not expired."""
    from minikube_py.pki.certificates import cross_sign

    top = _top(new)
    if top in old.bundle:  # the root is trusted already: another intermediate of the same owner
        return LoadedAuthority(new.signer, _joined(new.bundle, living(old.bundle, now)))
    bridge = cross_sign(old.signer, top, now if begins is None else begins)
    return LoadedAuthority(new.signer, _joined(new.bundle, (bridge,), living(old.bundle, now)))


def _top(authority: LoadedAuthority) -> Certificate:
    """The root of the bundle that the signer leads to, which is what must be bridged."""
    from minikube_py.pki.certificates import is_issued_by, is_self_signed

    current = authority.signer.certificate
    for _ in authority.bundle:
        if is_self_signed(current):
            return current
        above = next((one for one in authority.bundle if one != current and is_issued_by(current, one)), None)
        if above is None:
            return current
        current = above
    return current


def is_complete(authority: LoadedAuthority) -> bool:
    """Whether the bundle leads from the signer to a self-signed root."""
    from minikube_py.pki.certificates import is_self_signed

    return is_self_signed(_top(authority))


def living(bundle: Sequence[Certificate], now: float) -> tuple[Certificate, ...]:
    """The certificates that have not expired."""
    return tuple(one for one in bundle if one.not_valid_after_utc.timestamp() > now)


def _joined(*parts: Sequence[Certificate]) -> tuple[Certificate, ...]:
    return tuple(dict.fromkeys(one for part in parts for one in part))
