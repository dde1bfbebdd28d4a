"""Secrets of well-known types hold what their type says."""

from __future__ import annotations

import base64
import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from minikube_py.machinery.kinds.core.secret import KIND

INTO = "into Go value of type map[string]interface {}"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param('{"auths": {}}', None, id="an object"),
        pytest.param("null", None, id="null"),
        pytest.param("{", "unexpected end of JSON input", id="an open brace"),
        pytest.param("x", "invalid character 'x' looking for beginning of value", id="no JSON"),
        pytest.param("[]", f"json: cannot unmarshal array {INTO}", id="a list"),
        pytest.param('"a"', f"json: cannot unmarshal string {INTO}", id="a text"),
        pytest.param("true", f"json: cannot unmarshal bool {INTO}", id="a truth"),
        pytest.param("1", f"json: cannot unmarshal number {INTO}", id="a number"),
    ],
)
def test_docker_configurations(text: str, wanted: str | None) -> None:
    data = {".dockerconfigjson": base64.b64encode(text.encode()).decode()}
    errors = KIND.validate({"metadata": {"name": "s"}, "type": "kubernetes.io/dockerconfigjson", "data": data})
    body = f'Invalid value: "<secret contents redacted>": {wanted}'
    assert [(error.field, error.body()) for error in errors] == (
        [] if wanted is None else [("data[.dockerconfigjson]", body)]
    )


FORMATS = {"own format": PrivateFormat.TraditionalOpenSSL, "pkcs8": PrivateFormat.PKCS8}
PRIVATE = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "ec": ec.generate_private_key(ec.SECP256R1()),
    "other": ec.generate_private_key(ec.SECP256R1()),
}


def key_text(name: str, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    return PRIVATE[name].private_bytes(Encoding.PEM, form, NoEncryption()).decode()


def certificate_text(name: str) -> str:
    key = PRIVATE[name]
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = builder.not_valid_before(start).not_valid_after(start + datetime.timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def block(kind: str, body: str = "MIIB") -> str:
    return f"-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n"


EC, RSA = certificate_text("ec"), certificate_text("rsa")
SKIPPED_CERTIFICATE = (
    'tls: failed to find "CERTIFICATE" PEM block in certificate input after skipping PEM blocks of the following types:'
)
SKIPPED_KEY = (
    'tls: failed to find PEM block with type ending in "PRIVATE KEY" in key input after skipping PEM blocks '
    "of the following types:"
)
SWITCHED = (
    "tls: failed to find certificate PEM data in certificate input, but did find a private key; "
    "PEM inputs may have been switched"
)


@pytest.mark.parametrize(
    ("certificate", "key", "wanted"),
    [
        pytest.param("", "", "tls: failed to find any PEM data in certificate input", id="nothing"),
        pytest.param(
            block("CERTIFICATE", "***"), "", "tls: failed to find any PEM data in certificate input", id="odd"
        ),
        pytest.param(key_text("ec"), EC, SWITCHED, id="switched"),
        pytest.param(block("A") + block("B"), "", f"{SKIPPED_CERTIFICATE} [A B]", id="no certificate"),
        pytest.param(EC, "", "tls: failed to find any PEM data in key input", id="no key"),
        pytest.param(
            EC,
            EC,
            "tls: found a certificate rather than a key in the PEM for the private key",
            id="a certificate twice",
        ),
        pytest.param(EC, block("EC PARAMETERS"), f"{SKIPPED_KEY} [EC PARAMETERS]", id="parameters alone"),
        pytest.param(block("CERTIFICATE"), key_text("ec"), "x509: malformed certificate", id="malformed"),
        pytest.param(EC, block("EC PRIVATE KEY"), "tls: failed to parse private key", id="malformed key"),
        pytest.param(EC, key_text("rsa"), "tls: private key type does not match public key type", id="another type"),
        pytest.param(EC, key_text("other"), "tls: private key does not match public key", id="another key"),
        *(pytest.param(EC, key_text("ec", form), None, id=f"ec {name}") for name, form in FORMATS.items()),
        *(pytest.param(RSA, key_text("rsa", form), None, id=f"rsa {name}") for name, form in FORMATS.items()),
        pytest.param("text before\n" + EC + RSA, block("EC PARAMETERS") + key_text("ec"), None, id="the first of each"),
    ],
)
def test_pairs_that_do_not_load(certificate: str, key: str, wanted: str | None) -> None:
    data = {"tls.crt": certificate, "tls.key": key}
    encoded = {name: base64.b64encode(text.encode()).decode() for name, text in data.items()}
    secret = {"metadata": {"name": "s"}, "type": "kubernetes.io/tls", "data": encoded}
    for old in (None, secret):
        assert KIND.warnings(secret, old) == ([wanted] if wanted else [])
