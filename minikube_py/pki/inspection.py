"""What the certificates of an installation are worth now; ``pyk3s certificate check`` shows it.

``inspect_certificates`` only reads. It judges by the time floor, as the server does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from minikube_py.pki.authorities import AUTHORITIES, KeyPair, due_for_succession, load_authority
from minikube_py.pki.errors import PkiError
from minikube_py.pki.files import read_file
from minikube_py.pki.layout import AGENT_BUNDLES, LEAF_AUTHORITIES, pki_files

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


class Verdict(StrEnum):
    """k3s's words for the state of a certificate."""

    OK = "OK"
    WARNING = "WARNING"
    """It is renewed now or soon, or only its owner can renew it."""
    EXPIRED = "EXPIRED"
    NOT_YET_VALID = "NOT YET VALID"
    BROKEN = "BROKEN"
    """It cannot be read or used; ``note`` says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """One certificate of a file. Times are Unix seconds; ``residual_seconds`` is negative after the end."""

    file: Path
    subject: str
    usages: str
    ends: float
    residual_seconds: float
    verdict: Verdict
    note: str = ""

    @property
    def is_usable(self) -> bool:
        return self.verdict in (Verdict.OK, Verdict.WARNING)


def inspect_certificates(data_dir: Path, now: float, names: Sequence[str] = ()) -> list[Inspected]:
    """The leaves and the CA bundles of the installation, or only the leaves in ``names``.

    Raises PkiError when there is no installation.
    """
    files = pki_files(data_dir)
    if not files["server_ca"].certificate.exists():
        raise PkiError(f"there are no certificates in {data_dir}: start `pyk3s server` once, or give --data-dir")
    found: list[Inspected] = []
    for name in names or LEAF_AUTHORITIES:
        found += _of_file(files[name], now, _leaf_note(files, name))[:1]
    for name in AUTHORITIES if not names else ():
        signer, *others = _of_file(files[name], now, _authority_note(files[name], now))
        found += [signer, *map(_beside_signer, others)]
    return found


def is_worker(data_dir: Path) -> bool:
    """Whether the folder is of a worker: it has a node's certificates, and the CAs are elsewhere."""
    files = pki_files(data_dir)
    return files["client_kubelet"].certificate.exists() and not files["server_ca"].certificate.exists()


def inspect_worker(data_dir: Path, now: float) -> list[Inspected]:
    """A worker's two certificates and the CA bundles that it has from its server."""
    agent = data_dir / "agent"
    bundles = {name: KeyPair(agent / f"{name.replace('_', '-')}.crt", agent / "none") for name in AGENT_BUNDLES}
    files = pki_files(data_dir) | bundles
    found: list[Inspected] = []
    for name in ("client_kubelet", "serving_kubelet"):
        found += _of_file(files[name], now, _leaf_note(files, name), renewer="agent")[:1]
    for pair in bundles.values():
        found += [_beside_signer(one) for one in _of_file(pair, now, "")]
    return found


def _beside_signer(one: Inspected) -> Inspected:
    """An earlier root or a cross-signed certificate: its end harms nobody."""
    if one.verdict is Verdict.WARNING:
        return replace(one, verdict=Verdict.OK, note="")
    if one.verdict is Verdict.EXPIRED:
        return replace(one, verdict=Verdict.WARNING, note="signs no more; the next renewal removes it")
    return one


def next_renewal(data_dir: Path) -> float:
    """When the first certificate is to be renewed (Unix seconds); now or earlier for one that is missing."""
    from minikube_py.pki.certificates import load_certificates_or_none, renewal_time

    files = pki_files(data_dir)
    authorities = {name: load_authority(files[name], 0.0) for name in AUTHORITIES}
    moments = [due_for_succession(found) for found in authorities.values() if found is not None]
    for name, authority_name in LEAF_AUTHORITIES.items():
        authority = authorities[authority_name]
        certificates = load_certificates_or_none(read_file(files[name].certificate) or b"")
        if authority is None or not certificates:
            return 0.0
        moments.append(renewal_time(certificates[0], authority.signer.certificate))
    return min(moments)


def _of_file(pair: KeyPair, now: float, problem: str, renewer: str = "server") -> list[Inspected]:
    from minikube_py.pki.certificates import load_certificates_or_none

    bundle = load_certificates_or_none(read_file(pair.certificate) or b"")
    if not bundle:
        why = f"missing or unreadable; restart the {renewer}, which makes it anew"
        return [
            Inspected(
                file=pair.certificate,
                subject="",
                usages="",
                ends=0.0,
                residual_seconds=0.0,
                verdict=Verdict.BROKEN,
                note=problem or why,
            )
        ]
    return [_one(pair.certificate, found, now, "" if index else problem, renewer) for index, found in enumerate(bundle)]


def _one(path: Path, certificate: Certificate, now: float, problem: str, renewer: str) -> Inspected:
    from minikube_py.pki.certificates import is_authority, renew_before_seconds, renewal_margin

    margin = renew_before_seconds if is_authority(certificate) else renewal_margin(certificate)
    ends = certificate.not_valid_after_utc.timestamp()
    verdict, note = Verdict.OK, problem
    if ends <= now:
        verdict = Verdict.EXPIRED
    elif certificate.not_valid_before_utc.timestamp() > now:
        verdict = Verdict.NOT_YET_VALID
    elif problem:
        verdict = Verdict.BROKEN
    elif ends - now < margin:
        verdict = Verdict.WARNING
        own = f"the running {renewer} renews it; a stopped one does at its start"
        note = "bring a new one with `pyk3s certificate rotate-ca --path`" if is_authority(certificate) else own
    return Inspected(
        file=path,
        subject=certificate.subject.rfc4514_string(),
        usages=_usages(certificate),
        ends=ends,
        residual_seconds=ends - now,
        verdict=verdict,
        note=note,
    )


def _usages(certificate: Certificate) -> str:
    """k3s's words: CertSign, ServerAuth, ClientAuth."""
    from cryptography import x509

    from minikube_py.pki.certificates import CLIENT_AUTH, SERVER_AUTH, is_authority

    if is_authority(certificate):
        return "CertSign"
    try:
        usages = list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return ""
    return ",".join(
        word for word, usage in (("ServerAuth", SERVER_AUTH), ("ClientAuth", CLIENT_AUTH)) if usage in usages
    )


def _leaf_note(files: dict[str, KeyPair], name: str) -> str:
    """What makes a leaf useless though its time has not come."""
    from minikube_py.pki.authorities import load_private_key
    from minikube_py.pki.certificates import is_issued_by, key_fits, load_certificates_or_none

    bundle = load_certificates_or_none(read_file(files[name].certificate) or b"")
    authorities = load_certificates_or_none(read_file(files[LEAF_AUTHORITIES[name]].certificate) or b"") or []
    if not bundle:
        return ""
    try:
        key = load_private_key(files[name].key)
    except PkiError as error:
        return str(error)
    if key is None or not key_fits(bundle[0], key):
        return "its key is missing or another's; restart the server, which issues it anew"
    if not any(is_issued_by(bundle[0], authority) for authority in authorities):
        return "no CA of the cluster signed it; restart the server, which issues it anew"
    return ""


def _authority_note(pair: KeyPair, now: float) -> str:
    try:
        load_authority(pair, now, may_be_expired=True)
    except PkiError as error:
        return str(error)
    return ""
