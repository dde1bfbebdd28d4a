"""Tokens that join servers and agents, in k3s's forms: ``K10<sha256 of the CA>::<user>:<secret>``.

The hash pins the server's CA, so that a joining agent cannot be led to an impostor; the secret
proves the joiner. ``<data-dir>/server/token`` holds the server's token (user ``server``), ``agent-token``
the agents' (user ``node``: it joins agents, never servers), and ``node-token`` what users copy to a new
node. All are 0600. A bootstrap token takes the place of user and secret: ``K10<hash>::<id>.<secret>``.

After a CA rotation tokens carry the hash of the new CA; older tokens still pin the cluster, because
the bundle contains the CA they name and certificates that lead from it to the new one.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from minikube_py.pki.errors import PkiError
from minikube_py.pki.files import read_file, write_files

_FULL = re.compile(r"K10([0-9a-f]{64})::(?:([^:]+):)?(.+)", re.DOTALL)
_SECRET = re.compile(r"[!-~]+")
_BOOTSTRAP = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
secret_bytes = 16
SERVER_USER = "server"
AGENT_USER = "node"


@dataclass(frozen=True, slots=True)
class JoinToken:
    """``ca_hash`` is empty in a bare secret (the joiner then trusts the server on first use).

    ``user`` is empty in a bootstrap token, whose ``secret`` is the whole ``<id>.<secret>``.
    """

    secret: str
    user: str = SERVER_USER
    ca_hash: str = ""

    def __str__(self) -> str:
        if not self.ca_hash:
            return self.secret
        return f"K10{self.ca_hash}::{self.user}:{self.secret}" if self.user else f"K10{self.ca_hash}::{self.secret}"

    @property
    def is_bootstrap_token(self) -> bool:
        """Whether it authenticates to the API itself, as ``system:bootstrap:<id>``."""
        return _BOOTSTRAP.fullmatch(self.secret) is not None

    def vouched_bundle(self, ca_pem: bytes) -> bytes:
        """The part of an offered CA bundle that a joiner may trust; empty when the token pins another cluster.

        A bare secret takes everything. A hash of the whole bundle vouches for it; that of one certificate
        for this one and those that it has signed, directly or over cross-signed ones. The rest, such as
        an earlier root, may be anybody's.
        """
        if not self.ca_hash or secrets.compare_digest(self.ca_hash, _digest(ca_pem)):
            return ca_pem
        return _vouched(self.ca_hash, ca_pem)

    def pins(self, ca_pem: bytes) -> bool:
        """Whether the token accepts this CA bundle; trust no more of it than ``vouched_bundle``."""
        return bool(self.vouched_bundle(ca_pem))

    def proves(self, secret: str) -> bool:
        """Whether the secret is this token's, compared in constant time."""
        return secrets.compare_digest(self.secret.encode(), secret.encode())


@dataclass(frozen=True, slots=True)
class JoinTokens:
    """What a server checks joiners with."""

    server: JoinToken
    agent: JoinToken

    def role_of(self, user: str, secret: str) -> str:
        """``server`` or ``agent`` for right credentials, else empty. An agent may show the server's token too."""
        if user == SERVER_USER and self.server.proves(secret):
            return "server"
        if user == AGENT_USER and (self.agent.proves(secret) or self.server.proves(secret)):
            return "agent"
        return ""


def ca_hash(ca_pem: bytes) -> str:
    """The hash that new tokens carry: SHA-256, in hex, of the bundle's first certificate in PEM.

    That is k3s's hash of the file as long as the file holds one certificate. Raises ValueError.
    """
    from minikube_py.pki.certificates import certificate_pem, load_certificates

    bundle = load_certificates(ca_pem)
    return _digest(ca_pem if len(bundle) == 1 else certificate_pem(bundle[0]))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _vouched(wanted: str, ca_pem: bytes) -> bytes:
    from minikube_py.pki.certificates import certificate_pem, is_issued_by, load_certificates_or_none

    bundle = load_certificates_or_none(ca_pem) or []
    trusted = [one for one in bundle if secrets.compare_digest(wanted, _digest(certificate_pem(one)))]
    found = bool(trusted)
    while found:
        keys = {(one.subject, _key_of(one)) for one in trusted}
        news = [
            one
            for one in bundle
            if one not in trusted
            and ((one.subject, _key_of(one)) in keys or any(is_issued_by(one, issuer) for issuer in trusted))
        ]
        trusted += news
        found = bool(news)
    return certificate_pem(*(one for one in bundle if one in trusted))


def _key_of(certificate: object) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    assert isinstance(certificate, x509.Certificate)
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def parse_join_token(text: str) -> JoinToken:
    """A token as an administrator gives it: the full form or a bare secret. Raises PkiError."""
    text = text.strip()
    if found := _FULL.fullmatch(text):
        if found[2] is None and not _BOOTSTRAP.fullmatch(found[3]):
            raise PkiError("the token lacks its user: it must read K10<hash>::<user>:<secret>")
        return JoinToken(found[3], found[2] or "", found[1])
    if text.startswith("K10"):
        raise PkiError("the token is cut off: it must read K10<64 hex digits>::<user>:<secret>")
    if not _SECRET.fullmatch(text):
        raise PkiError("the token must be one word of visible ASCII characters")
    return JoinToken(text, "" if _BOOTSTRAP.fullmatch(text) else SERVER_USER)


def bootstrap_join_token(token: str, ca_pem: bytes) -> str:
    """``K10<hash>::<id>.<secret>``: a bootstrap token that pins the cluster. Raises ValueError."""
    return str(JoinToken(token, "", ca_hash(ca_pem)))


def ensure_server_token(
    data_dir: Path | str, ca_certificate: Path, secret: str = "", agent_secret: str = ""
) -> JoinToken:
    """The server's token; made on first start, from ``secret`` where one is given. Agents' goes along.

    Without ``agent_secret`` agents join with the server's secret, as in k3s. Raises PkiError when a
    given secret differs from the one this installation already has.
    """
    folder = Path(data_dir) / "server"
    hashed = ca_hash(ca_certificate.read_bytes())
    server = _kept(folder / "token", secret, "--token") or JoinToken(secrets.token_hex(secret_bytes))
    agent = _kept(folder / "agent-token", agent_secret, "--agent-token")
    return _write(folder, hashed, server.secret, agent.secret if agent else "").server


def load_join_tokens(data_dir: Path | str) -> JoinTokens:
    """The tokens of an installation. Raises PkiError when it has none yet."""
    folder = Path(data_dir) / "server"
    server = _kept(folder / "token", "", "--token")
    if server is None:
        raise PkiError(f"{folder / 'token'} is missing: start `pyk3s server` once, or give --data-dir")
    agent = _kept(folder / "agent-token", "", "--agent-token")
    return JoinTokens(server, agent or JoinToken(server.secret, AGENT_USER, server.ca_hash))


def rotate_server_token(data_dir: Path | str, ca_certificate: Path, old: str, new: str = "") -> JoinToken:
    """Replace the server's secret by ``new`` (made when empty). Raises PkiError unless ``old`` is the present one."""
    tokens = load_join_tokens(data_dir)
    if not tokens.server.proves(parse_join_token(old).secret):
        raise PkiError("the given token is not the server's: pass the one in <data-dir>/server/token")
    folder = Path(data_dir) / "server"
    own_agent_token = read_file(folder / "agent-token") is not None
    hashed = ca_hash(ca_certificate.read_bytes())
    secret = parse_join_token(new).secret if new else secrets.token_hex(secret_bytes)
    return _write(folder, hashed, secret, tokens.agent.secret if own_agent_token else "").server


def _kept(path: Path, given: str, flag: str) -> JoinToken | None:
    """The token of a file or, where there is none, the given one."""
    wanted = parse_join_token(given) if given else None
    content = read_file(path)
    if content is None:
        return wanted
    try:
        existing = parse_join_token(content.decode("ascii", "replace"))
    except PkiError as error:
        raise PkiError(f"{path}: {error}; restore it from a backup or remove it to get a new one") from error
    if wanted is not None and not existing.proves(wanted.secret):
        raise PkiError(
            f"{flag} differs from the token of this installation in {path}: use that one, "
            "or change it with `pyk3s token rotate`"
        )
    return existing


def _write(folder: Path, hashed: str, server_secret: str, agent_secret: str) -> JoinTokens:
    server = JoinToken(server_secret, SERVER_USER, hashed)
    agent = JoinToken(agent_secret or server_secret, AGENT_USER, hashed)
    contents = {folder / "token": f"{server}\n".encode()}
    if agent_secret:
        contents[folder / "agent-token"] = f"{agent}\n".encode()
    contents[folder / "node-token"] = f"{agent if agent_secret else server}\n".encode()
    write_files({path: content for path, content in contents.items() if read_file(path) != content})
    return JoinTokens(server, agent)
