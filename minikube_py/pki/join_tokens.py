"""Tokens that join servers and agents, in k3s's form: ``K10<sha256 of the CA>::<user>:<secret>``.

The hash pins the server's CA, so that a joining agent cannot be led to an impostor; the secret
proves the joiner. ``<data-dir>/server/token`` holds the server's token and ``node-token`` is the same
token under the name that k3s users copy from; both are 0600.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from minikube_py.pki.errors import PkiError
from minikube_py.pki.files import read_file, write_files

_PATTERN = re.compile(r"K10([0-9a-f]{64})::([^:]+):(.+)", re.DOTALL)
_SECRET = re.compile(r"[!-~]+")
secret_bytes = 16


@dataclass(frozen=True, slots=True)
class JoinToken:
    """``ca_hash`` is empty in a bare secret (the joiner then trusts the server on first use)."""

    secret: str
    user: str = "server"
    ca_hash: str = ""

    def __str__(self) -> str:
        return f"K10{self.ca_hash}::{self.user}:{self.secret}" if self.ca_hash else self.secret

    def pins(self, ca_pem: bytes) -> bool:
        """Whether the token accepts this CA; a bare secret accepts any."""
        return not self.ca_hash or secrets.compare_digest(self.ca_hash, ca_hash(ca_pem))

    def proves(self, secret: str) -> bool:
        """Whether the secret is this token's, compared in constant time."""
        return secrets.compare_digest(self.secret.encode(), secret.encode())


def ca_hash(ca_pem: bytes) -> str:
    """k3s's hash of a CA bundle: SHA-256 of the file's bytes, in hex."""
    return hashlib.sha256(ca_pem).hexdigest()


def parse_join_token(text: str) -> JoinToken:
    """A token as an administrator gives it: the full form or a bare secret. Raises PkiError."""
    text = text.strip()
    if found := _PATTERN.fullmatch(text):
        return JoinToken(found[3], found[2], found[1])
    if text.startswith("K10"):
        raise PkiError("the token is cut off: it must read K10<64 hex digits>::<user>:<secret>")
    if not _SECRET.fullmatch(text):
        raise PkiError("the token must be one word of visible ASCII characters")
    return JoinToken(text)


def ensure_server_token(data_dir: Path | str, ca_certificate: Path, secret: str = "") -> JoinToken:
    """The server's token; made on first start, from ``secret`` where one is given.

    Raises PkiError when a given secret differs from the one this installation already has.
    """
    path = Path(data_dir) / "server" / "token"
    hashed = ca_hash(ca_certificate.read_bytes())
    given = parse_join_token(secret).secret if secret else ""
    content = read_file(path)
    if content is not None:
        existing = parse_join_token(content.decode("ascii", "replace"))
        if given and not existing.proves(given):
            raise PkiError(f"--token differs from the token of this installation in {path}: use that one")
        token = JoinToken(existing.secret, "server", hashed)
    else:
        token = JoinToken(given or secrets.token_hex(secret_bytes), "server", hashed)
    wanted = f"{token}\n".encode()
    node_token = path.with_name("node-token")
    write_files({file: wanted for file in (path, node_token) if read_file(file) != wanted})
    return token
