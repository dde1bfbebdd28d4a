"""TLS settings by Kubernetes' names: what they turn into, and that handshakes obey."""

from __future__ import annotations

import ssl

import pytest

from minikube_py.host.tls_policy import SUITES, TlsPolicy, tls_policy


def offered(policy: TlsPolicy) -> set[str]:
    """OpenSSL's names of the suites of TLS 1.2 that a context with this policy offers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    policy.apply(context)
    return {suite["name"] for suite in context.get_ciphers() if suite["protocol"] == "TLSv1.2"}


def test_the_defaults_are_forward_secret_and_authenticated() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    TlsPolicy().apply(context)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    for suite in context.get_ciphers():
        assert suite["aead"], suite["name"]
        assert suite["kea"] in ("kx-ecdhe", "kx-any"), suite["name"]
    assert offered(TlsPolicy()) == set(SUITES.values())


@pytest.mark.parametrize(
    ("minimum", "suites", "version", "expected"),
    [
        pytest.param("VersionTLS12", [], "TLSv1_2", set(SUITES.values()), id="defaults"),
        pytest.param("VersionTLS13", [], "TLSv1_3", set(SUITES.values()), id="1.3 alone"),
        pytest.param(
            "VersionTLS12", ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"], "TLSv1_2", {"ECDHE-RSA-AES128-GCM-SHA256"},
            id="one",
        ),
        pytest.param(
            "VersionTLS12", ["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305"], "TLSv1_2", {"ECDHE-ECDSA-CHACHA20-POLY1305"},
            id="older name",
        ),
        pytest.param(
            "VersionTLS12", ["TLS_AES_128_GCM_SHA256"], "TLSv1_3", set(SUITES.values()), id="only 1.3's suites"
        ),
    ],
)  # fmt: skip
def test_names_become_settings(minimum: str, suites: list[str], version: str, expected: set[str]) -> None:
    policy = tls_policy(minimum, suites)
    assert policy.minimum is ssl.TLSVersion[version]
    assert offered(policy) == expected


@pytest.mark.parametrize(
    ("minimum", "suites", "text"),
    [
        ("VersionTLS11", [], "TLS version 'VersionTLS11' is not offered"),
        ("1.2", [], "TLS version '1.2' is not offered"),
        ("VersionTLS12", ["TLS_RSA_WITH_AES_128_CBC_SHA"], "cipher suite 'TLS_RSA_WITH_AES_128_CBC_SHA' is not"),
        ("VersionTLS12", ["TLS_AES_128_GCM_SHA256", "x"], "cipher suite 'x' is not offered"),
    ],
)
def test_what_is_weak_or_unknown_is_refused(minimum: str, suites: list[str], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        tls_policy(minimum, suites)
