"""Reads kubeconfig files into what ``client.http.HttpClient`` needs.

Only what a component needs is understood: server, certificate authority, client certificate and key
(as files or inline data) and bearer tokens (inline or in a file). Inline data is handed on as bytes.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class KubeconfigError(ValueError):
    """The file is missing, malformed, or names a context, cluster or user that it does not have."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a cluster is and how to prove who we are; PEM texts, empty where not given."""

    server: str
    ca_pem: bytes = b""
    cert_pem: bytes = b""
    key_pem: bytes = b""
    token: str = ""
    insecure: bool = False
    namespace: str = "default"


def load_kubeconfig(path: Path, context: str = "") -> Connection:
    """Read a kubeconfig file (blocking; call it in a thread). Raises KubeconfigError."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise KubeconfigError(f"cannot read kubeconfig {path}: {error}") from error
    if not isinstance(content, dict):
        raise KubeconfigError(f"kubeconfig {path} is empty")
    name = context or str(content.get("current-context") or "")
    chosen = _named(content, "contexts", "context", name)
    cluster = _named(content, "clusters", "cluster", str(chosen.get("cluster") or ""))
    user = _named(content, "users", "user", str(chosen["user"])) if chosen.get("user") else {}
    base = path.parent
    return Connection(
        server=str(cluster.get("server") or ""),
        ca_pem=_pem(cluster, "certificate-authority", base),
        cert_pem=_pem(user, "client-certificate", base),
        key_pem=_pem(user, "client-key", base),
        token=_token(user, base),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        namespace=str(chosen.get("namespace") or "default"),
    )


def load_users(path: Path) -> tuple[dict[str, Connection], str]:
    """(all users by name, without servers; the name of the current context's user or "").

    Blocks. Raises KubeconfigError.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise KubeconfigError(f"cannot read kubeconfig {path}: {error}") from error
    if not isinstance(content, dict):
        raise KubeconfigError(f"kubeconfig {path} is empty")
    users: dict[str, Connection] = {}
    for entry in content.get("users") or ():
        user = dict(entry.get("user") or {})
        users[str(entry.get("name") or "")] = Connection(
            server="",
            cert_pem=_pem(user, "client-certificate", path.parent),
            key_pem=_pem(user, "client-key", path.parent),
            token=_token(user, path.parent),
        )
    context = str(content.get("current-context") or "")
    current = str(_named(content, "contexts", "context", context).get("user") or "") if context else ""
    return users, current


def _named(content: dict[str, Any], section: str, inner: str, name: str) -> dict[str, Any]:
    for entry in content.get(section) or ():
        if entry.get("name") == name:
            return dict(entry.get(inner) or {})
    raise KubeconfigError(f'kubeconfig has no {inner} named "{name}"')


def _pem(section: dict[str, Any], key: str, base: Path) -> bytes:
    inline = section.get(f"{key}-data")
    if inline:
        try:
            return base64.b64decode(inline, validate=True)
        except binascii.Error as error:
            raise KubeconfigError(f"{key}-data is not base64: {error}") from error
    if not section.get(key):
        return b""
    return _read(base / str(section[key]))


def _token(user: dict[str, Any], base: Path) -> str:
    if user.get("token"):
        return str(user["token"])
    if user.get("tokenFile"):
        return _read(base / str(user["tokenFile"])).decode().strip()
    return ""


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KubeconfigError(f"cannot read {path}: {error}") from error
