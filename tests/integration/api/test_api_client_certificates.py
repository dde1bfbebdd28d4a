"""Client certificates of every kind over real TLS: who is known, who is not, and who may speak for others."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from api_process import Running, api_process
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from minikube_py.pki import certificates as x

WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
REVIEW = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
HOUR = 3600.0
JOE = (("X-Remote-User", "joe"), ("X-Remote-Group", "devs"))
REFUSED, UNKNOWN = 401, 0
"""Not valid; not even let through TLS, which knows the CAs and what a certificate is for."""


@dataclass(frozen=True)
class Shown:
    """A certificate that a client shows: of which CA, for whom, for when, and with what other certificates."""

    ca: str = "client-ca"
    name: str = "mallory"
    groups: tuple[str, ...] = ("devs",)
    usages: tuple[x509.ObjectIdentifier, ...] = (x.CLIENT_AUTH,)
    begins: float = 0.0
    life: float = HOUR
    over: str = ""
    """An intermediate: "sent", "unsent", "ended", or "leaf", one that may not sign."""


@dataclass(frozen=True)
class Server:
    running: Running
    folder: Path

    def authority(self, name: str) -> x.Authority:
        tls = self.folder / "data" / "server" / "tls"
        if not (tls / f"{name}.crt").exists():  # one that the cluster does not know, of the same name
            own = self.authority("client-ca").certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
            return x.make_authority(str(own[0].value), time.time())
        certificate = x.load_certificates((tls / f"{name}.crt").read_bytes())[0]
        return x.Authority(certificate, x.load_key((tls / f"{name}.key").read_bytes()))

    def ask(self, shown: Shown | None, headers: Sequence[tuple[str, str]] = ()) -> tuple[int, dict[str, Any]]:
        """(status, the user that the server sees); status 0 when TLS broke off."""
        context = ssl._create_unverified_context()
        if shown is not None:
            context.load_cert_chain(self._write(shown))
        connection = http.client.HTTPSConnection("127.0.0.1", self.running.port, context=context, timeout=60)
        try:
            connection.putrequest("POST", WHO)
            for name, value in (*headers, ("Content-Type", "application/json"), ("Content-Length", str(len(REVIEW)))):
                connection.putheader(name, value)
            connection.endheaders(REVIEW.encode())
            answer = connection.getresponse()
            body = json.loads(answer.read())
        except (ssl.SSLError, ConnectionError):
            return UNKNOWN, {}
        finally:
            connection.close()
        return answer.status, (body.get("status") or {}).get("userInfo", {}) if answer.status == 201 else {}

    def _write(self, shown: Shown) -> Path:
        now, ca = time.time() + shown.begins, self.authority(shown.ca)
        sent: list[x509.Certificate] = []
        if shown.over:
            ca = _intermediate(ca, time.time(), may_sign=shown.over != "leaf", ended=shown.over == "ended")
            sent = [ca.certificate] if shown.over != "unsent" else []
        key = x.new_key()
        subject = x.Subject(common_name=shown.name, organizations=shown.groups)
        leaf = x.issue(ca, subject, key.public_key(), list(shown.usages), now, shown.life)
        path = self.folder / "shown.pem"
        path.write_bytes(x.key_pem(key) + x.certificate_pem(leaf, *sent))
        return path


def _intermediate(ca: x.Authority, now: float, *, may_sign: bool, ended: bool) -> x.Authority:
    key = x.new_key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "between")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(x.utc_time(now - 2 * HOUR))
        .not_valid_after(x.utc_time(now - HOUR if ended else now + HOUR))
        .add_extension(x509.BasicConstraints(ca=may_sign, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return x.Authority(builder.sign(ca.key, hashes.SHA256()), key)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("certificates")
    with api_process(folder) as running:
        yield Server(running, folder)


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        pytest.param(Shown(), 201, id="good"),
        pytest.param(Shown(groups=()), 201, id="without groups"),
        pytest.param(Shown(usages=(x.CLIENT_AUTH, x.SERVER_AUTH)), 201, id="for clients and servers"),
        pytest.param(Shown(life=-HOUR / 2), REFUSED, id="ended"),
        pytest.param(Shown(begins=2 * HOUR), REFUSED, id="not begun"),
        pytest.param(Shown(usages=(x.SERVER_AUTH,)), UNKNOWN, id="for servers"),
        pytest.param(Shown(ca="stranger"), UNKNOWN, id="of another CA with the same name"),
        pytest.param(Shown(ca="server-ca"), UNKNOWN, id="of the servers' CA"),
        pytest.param(Shown(ca="request-header-ca"), REFUSED, id="of the front proxies' CA"),
        pytest.param(Shown(over="sent"), 201, id="over an intermediate that is sent"),
        pytest.param(Shown(over="unsent"), UNKNOWN, id="over an intermediate that nobody knows"),
        pytest.param(Shown(over="ended"), REFUSED, id="over an intermediate that has ended"),
        pytest.param(Shown(over="leaf"), UNKNOWN, id="signed by somebody who may not sign"),
        pytest.param(Shown(ca="request-header-ca", over="sent"), REFUSED, id="over the front proxies' intermediate"),
    ],
)
def test_who_a_certificate_says_it_is(server: Server, shown: Shown, status: int) -> None:
    found, user = server.ask(shown)
    assert found == status
    if found == 201:
        assert user["username"] == shown.name
        assert user["groups"] == [*shown.groups, "system:authenticated"]


PROXY = Shown(ca="request-header-ca", name="system:auth-proxy", groups=())


@pytest.mark.parametrize(
    ("shown", "headers", "wanted"),
    [
        pytest.param(PROXY, JOE, "joe", id="the front proxy"),
        pytest.param(replace(PROXY, over="sent"), JOE, "joe", id="the front proxy over an intermediate"),
        pytest.param(PROXY, (("x-remote-USER", "joe"),), "joe", id="in any case"),
        pytest.param(PROXY, (("X-Remote-User", "joe"), ("X-Remote-User", "root")), "joe", id="the first of two users"),
        pytest.param(PROXY, (("X_Remote_User", "joe"),), REFUSED, id="underscores"),
        pytest.param(PROXY, (("X-Remote-User", ""), ("X-Remote-Group", "system:masters")), REFUSED, id="no user"),
        pytest.param(PROXY, (), REFUSED, id="no headers"),
        pytest.param(replace(PROXY, name="somebody"), JOE, REFUSED, id="a proxy that is not allowed"),
        pytest.param(replace(PROXY, life=-HOUR / 2), JOE, REFUSED, id="a proxy whose certificate has ended"),
        pytest.param(replace(PROXY, ca="client-ca"), JOE, "system:auth-proxy", id="a user of the proxy's name"),
        pytest.param(Shown(), JOE, "mallory", id="an ordinary user"),
        pytest.param(None, JOE, 403, id="nobody"),
    ],
)
def test_who_may_speak_for_others(
    server: Server, shown: Shown | None, headers: Sequence[tuple[str, str]], wanted: str | int
) -> None:
    status, user = server.ask(shown, headers)
    assert (user.get("username") if status == 201 else status) == wanted


def test_the_anonymous_user_of_a_proxy_is_not_authenticated(server: Server) -> None:
    headers = (("X-Remote-User", "system:anonymous"), ("Authorization", f"Bearer {server.running.token}"))
    status, _ = server.ask(PROXY, headers)
    assert status == 403, "who is anonymous may not ask who he is"
