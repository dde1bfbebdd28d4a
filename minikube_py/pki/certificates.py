"""Making and judging X.509 certificates: EC P-256 keys, SHA-256 signatures, RFC 5280 extensions.

Everything here works on bytes (PEM) and ``cryptography`` objects; files are ``layout``'s concern.
Times are Unix seconds.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH

day_seconds = 24 * 3600.0
ca_lifetime_seconds = 3650 * day_seconds
leaf_lifetime_seconds = 365 * day_seconds
renew_before_seconds = 120 * day_seconds
ca_renew_before_seconds = 365 * day_seconds
# Certificates begin a little in the past, so that peers with slow clocks accept them at once.
backdate_seconds = 3600.0


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA that can sign: its newest certificate and that certificate's key."""

    certificate: x509.Certificate
    key: SigningKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom a certificate names. ``addresses`` are IP addresses as text."""

    common_name: str
    organizations: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: SigningKey) -> bytes:
    """The key in the form Go's tools write it (``EC PRIVATE KEY`` or ``RSA PRIVATE KEY``)."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def certificate_pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)


def load_key(pem: bytes) -> SigningKey:
    """An unencrypted EC or RSA key. Raises ValueError when it is anything else."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError as error:  # encrypted
        raise ValueError("the key is protected by a password") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("the key is neither EC nor RSA")
    return key


def load_certificates(pem: bytes) -> list[x509.Certificate]:
    """All certificates of a bundle, at least one. Raises ValueError."""
    return x509.load_pem_x509_certificates(pem)


def load_certificates_or_none(pem: bytes) -> list[x509.Certificate] | None:
    """The same, None for what cannot be read."""
    try:
        return load_certificates(pem)
    except ValueError:
        return None


def key_fits(certificate: x509.Certificate, key: SigningKey) -> bool:
    return certificate.public_key() == key.public_key()


def make_authority(
    common_name: str, now: float, key: SigningKey | None = None, *, begins: float | None = None
) -> Authority:
    """A self-signed CA that begins shortly before ``begins`` (default: ``now``) and ends ten years after ``now``."""
    key = key or new_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        _builder(name, name, now if begins is None else begins, now + ca_lifetime_seconds)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
    )
    return Authority(builder.sign(key, hashes.SHA256()), key)


def cross_sign(authority: Authority, successor: x509.Certificate, begins: float) -> x509.Certificate:
    """The successor with ``authority`` as issuer: who trusts only the old CA can verify the new one's leaves.

    Ends with whichever of the two CAs ends first.
    """
    ends = min(_ends(authority.certificate), _ends(successor))
    identifier = _subject_identifier(successor)
    builder = (
        _builder(successor.subject, authority.certificate.subject, begins, ends)
        .public_key(_ca_key(successor))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(issuer_identifier(authority.certificate), critical=False)
    )
    return builder.sign(authority.key, hashes.SHA256())


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether the certificate may sign others (``CA:TRUE``)."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def is_self_signed(certificate: x509.Certificate) -> bool:
    return certificate.subject == certificate.issuer and is_issued_by(certificate, certificate)


def sent_chain(signer: x509.Certificate, bundle: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """What a server sends after its leaf: intermediates and cross-signed certificates up to, not with, the roots.

    A self-signed root beside its cross-signed twin would lead some verifiers astray; alone it is sent, as k3s does.
    """
    chain: list[x509.Certificate] = []
    names, done = [signer.subject], set[x509.Name]()
    while names:
        name = names.pop(0)
        if name in done:
            continue
        done.add(name)
        found = [one for one in bundle if one.subject == name and not is_self_signed(one)]
        chain += found
        names += [one.issuer for one in found]
    return chain or [signer]


def _ends(certificate: x509.Certificate) -> float:
    return certificate.not_valid_after_utc.timestamp()


def _ca_key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    public = certificate.public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise ValueError("the CA's key is neither EC nor RSA")
    return public


def _subject_identifier(certificate: x509.Certificate) -> x509.SubjectKeyIdentifier:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:  # a CA that somebody brought along
        return x509.SubjectKeyIdentifier.from_public_key(_ca_key(certificate))


def issue(
    authority: Authority,
    subject: Subject,
    public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey,
    usages: Sequence[x509.ObjectIdentifier],
    now: float,
    lifetime_seconds: float = leaf_lifetime_seconds,
    *,
    begins: float | None = None,
) -> x509.Certificate:
    """A leaf certificate; it never outlives the authority. Others accept it from ``begins`` on (default: ``now``)."""
    ends = min(now + lifetime_seconds, authority.certificate.not_valid_after_utc.timestamp())
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, text) for text in subject.organizations]
    attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, subject.common_name))
    builder = (
        _builder(x509.Name(attributes), authority.certificate.subject, now if begins is None else begins, ends)
        .public_key(public_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(issuer_identifier(authority.certificate), critical=False)
    )
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in subject.dns_names]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in subject.addresses]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(authority.key, hashes.SHA256())


def issuer_identifier(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """The extension by which a certificate names its issuer's key."""
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(_subject_identifier(authority))


def _builder(subject: x509.Name, issuer: x509.Name, begins: float, ends: float) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(utc_time(begins - backdate_seconds))
        .not_valid_after(utc_time(ends))
    )


def utc_time(seconds: float) -> datetime:
    """A time as X.509 holds it: whole seconds, never before the epoch."""
    # A board that boots in 1970 may ask for a time before the epoch that X.509 can say but nobody needs.
    return datetime.fromtimestamp(max(0.0, float(int(seconds))), UTC)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=True,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def renewal_reason(
    certificate: x509.Certificate, authority: x509.Certificate, subject: Subject, now: float, begins: float
) -> str:
    """Why a leaf must be issued anew; empty when it is good.

    It must be signed by the CA's newest certificate, name the subject (further alternative names are fine),
    have begun at ``begins``, and be valid for another ``renewal_margin`` from ``now``, or as long as its CA.
    """
    if not is_issued_by(certificate, authority):
        return "it is not signed by the cluster's CA"
    if certificate_subject(certificate) != (subject.common_name, frozenset(subject.organizations)):
        return "it names another subject"
    dns_names, addresses = alternative_names(certificate)
    missing = sorted({*subject.dns_names} - dns_names) + sorted({*map(_canonical, subject.addresses)} - addresses)
    if missing:
        return f"it lacks the names {', '.join(missing)}"
    if certificate.not_valid_before_utc.timestamp() > begins:
        return "it is not valid yet"
    return "it expires soon" if renewal_time(certificate, authority) <= now else ""


def renewal_time(certificate: x509.Certificate, authority: x509.Certificate) -> float:
    """When a leaf is to be issued anew; a leaf that lasts as long as its CA gains nothing before it has ended."""
    ends = _ends(certificate)
    return ends - renewal_margin(certificate) if ends < _ends(authority) else ends


def renewal_margin(leaf: x509.Certificate) -> float:
    """How long before its end a leaf is issued anew: a third of its life, ``renew_before_seconds`` at most."""
    return min(renew_before_seconds, lifetime_of(leaf) / 3)


def lifetime_of(leaf: x509.Certificate) -> float:
    """The seconds that ``issue`` was asked for; of others' certificates all of their time.

    Of a leaf that was issued while the clock was behind it is too long, so limit it.
    """
    whole = _ends(leaf) - leaf.not_valid_before_utc.timestamp()
    return whole - backdate_seconds if whole > backdate_seconds else whole


def is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether the authority's key signed the certificate (names are compared too)."""
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def certificate_subject(certificate: x509.Certificate) -> tuple[str, frozenset[str]]:
    """Common name and organizations."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    organizations = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return (str(names[-1].value) if names else ""), frozenset(str(item.value) for item in organizations)


def alternative_names(certificate: x509.Certificate) -> tuple[set[str], set[str]]:
    """DNS names and IP addresses of a certificate."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set(), set()
    return set(names.get_values_for_type(x509.DNSName)), {str(a) for a in names.get_values_for_type(x509.IPAddress)}


def _canonical(address: str) -> str:
    return str(ipaddress.ip_address(address))
