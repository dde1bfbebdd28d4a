"""Whether a certificate and a private key in PEM load as one pair, in the words of Go's ``crypto/tls``."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key

_BLOCK = re.compile(rb"^-----BEGIN ([^\n]*?)-----[ \t\r]*\n(.*?)^-----END \1-----[ \t\r]*$", re.MULTILINE | re.DOTALL)
_HEADER = re.compile(rb"\A(?:[^\n:]*:[^\n]*\n)+\s*\n?")
_SPACE = re.compile(rb"[ \t\r\n]+")
_ALGORITHMS = (
    (rsa.RSAPublicKey, rsa.RSAPrivateKey),
    (ec.EllipticCurvePublicKey, ec.EllipticCurvePrivateKey),
    (ed25519.Ed25519PublicKey, ed25519.Ed25519PrivateKey),
)


def pair_problem(certificate: bytes, key: bytes) -> str | None:
    """Why TLS could not use this pair; None when it can. The first certificate is the one that counts."""
    chain = list(_blocks(certificate))
    leaf = next((body for kind, body in chain if kind == "CERTIFICATE"), None)
    if leaf is None:
        return _no_certificate([kind for kind, _ in chain])
    keys = list(_blocks(key))
    position = next((index for index, (kind, _) in enumerate(keys) if _is_key(kind)), None)
    if position is None:
        return _no_key([kind for kind, _ in keys])
    return _mismatch(leaf, keys[position][1])


def _blocks(text: bytes) -> Iterator[tuple[str, bytes]]:
    """The PEM blocks that decode: their types and contents."""
    for found in _BLOCK.finditer(text):
        body = _SPACE.sub(b"", _HEADER.sub(b"", found[2]))
        try:
            yield found[1].decode(errors="replace"), base64.b64decode(body, validate=True)
        except binascii.Error:
            continue


def _is_key(kind: str) -> bool:
    return kind == "PRIVATE KEY" or kind.endswith(" PRIVATE KEY")


def _no_certificate(skipped: list[str]) -> str:
    if not skipped:
        return "tls: failed to find any PEM data in certificate input"
    if len(skipped) == 1 and skipped[0].endswith("PRIVATE KEY"):
        return (
            "tls: failed to find certificate PEM data in certificate input, but did find a private key; "
            "PEM inputs may have been switched"
        )
    return (
        'tls: failed to find "CERTIFICATE" PEM block in certificate input after skipping PEM blocks '
        f"of the following types: [{' '.join(skipped)}]"
    )


def _no_key(skipped: list[str]) -> str:
    if not skipped:
        return "tls: failed to find any PEM data in key input"
    if skipped == ["CERTIFICATE"]:
        return "tls: found a certificate rather than a key in the PEM for the private key"
    return (
        'tls: failed to find PEM block with type ending in "PRIVATE KEY" in key input after skipping PEM blocks '
        f"of the following types: [{' '.join(skipped)}]"
    )


def _mismatch(leaf: bytes, key: bytes) -> str | None:
    try:
        public = x509.load_der_x509_certificate(leaf).public_key()
    except UnsupportedAlgorithm:
        return "tls: unknown public key algorithm"
    except ValueError:
        return "x509: malformed certificate"
    try:
        # Looking for the primes of an RSA key would block for a quarter of a second.
        private = load_der_private_key(key, password=None, unsafe_skip_rsa_key_validation=True)
    except UnsupportedAlgorithm:
        return "tls: found unknown private key type in PKCS#8 wrapping"
    except (ValueError, TypeError):
        return "tls: failed to parse private key"
    if not isinstance(private, tuple(secret for _, secret in _ALGORITHMS)):
        return "tls: found unknown private key type in PKCS#8 wrapping"
    expected = next((secret for known, secret in _ALGORITHMS if isinstance(public, known)), None)
    if expected is None:
        return "tls: unknown public key algorithm"
    if not isinstance(private, expected):
        return "tls: private key type does not match public key type"
    return None if private.public_key() == public else "tls: private key does not match public key"
