"""Reads kubeconfig files into what ``client.http.HttpClient`` needs.

Only what a component needs is understood: server, certificate authority, client certificate and key
(as files or inline data) and bearer tokens (inline or in a file). Inline data is handed on as bytes.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
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
    content = _content(path)
    name = context or str(content.get("current-context") or "")
    if not name:
        raise KubeconfigError(f"kubeconfig {path} has no current-context")
    chosen = _named(path, content, "context", name)
    cluster = _named(path, content, "cluster", str(chosen.get("cluster") or ""))
    user = _named(path, content, "user", str(chosen["user"])) if chosen.get("user") else {}
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
    content = _content(path)
    users: dict[str, Connection] = {}
    for name, user in _entries(path, content, "user"):
        users[name] = Connection(
            server="",
            cert_pem=_pem(user, "client-certificate", path.parent),
            key_pem=_pem(user, "client-key", path.parent),
            token=_token(user, path.parent),
        )
    context = str(content.get("current-context") or "")
    current = str(_named(path, content, "context", context).get("user") or "") if context else ""
    return users, current


def _content(path: Path) -> Mapping[str, Any]:
    """The file's document."""
    from minikube_py.machinery.errors import ApiError
    from minikube_py.machinery.yaml_text import load_yaml

    try:
        content = load_yaml(path.read_bytes())
    except OSError as error:
        raise KubeconfigError(f"cannot read kubeconfig {path}: {error.strerror}") from error
    except ApiError as error:
        raise KubeconfigError(f"kubeconfig {path} is not YAML: {' '.join(error.message.split())}") from error
    if content is None:
        raise KubeconfigError(f"kubeconfig {path} is empty")
    if not isinstance(content, Mapping):
        raise KubeconfigError(f"kubeconfig {path} is not an object with clusters, users and contexts")
    return content


def _entries(path: Path, content: Mapping[str, Any], inner: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(name, content) of each entry of the section for ``inner`` (cluster, user, context)."""
    section = content.get(f"{inner}s") or ()
    for entry in section if isinstance(section, list) else (section,):
        value = entry.get(inner) or {} if isinstance(entry, Mapping) else None
        if not isinstance(entry, Mapping) or not isinstance(value, Mapping):
            raise KubeconfigError(f"kubeconfig {path}: {inner}s must be a list of objects with name and {inner}")
        yield str(entry.get("name") or ""), value


def _named(path: Path, content: Mapping[str, Any], inner: str, name: str) -> Mapping[str, Any]:
    for found, value in _entries(path, content, inner):
        if found == name:
            return value
    raise KubeconfigError(f'kubeconfig {path} has no {inner} named "{name}"')


def _pem(section: Mapping[str, Any], key: str, base: Path) -> bytes:
    inline = section.get(f"{key}-data")
    if inline:
        try:
            return base64.b64decode(inline, validate=True)
        except binascii.Error as error:
            raise KubeconfigError(f"{key}-data is not base64: {error}") from error
    if not section.get(key):
        return b""
    return _read(base / str(section[key]))


def _token(user: Mapping[str, Any], base: Path) -> str:
    if user.get("token"):
        return str(user["token"])
    if user.get("tokenFile"):
        return _read(base / str(user["tokenFile"])).decode(errors="replace").strip()
    return ""


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KubeconfigError(f"cannot read {path}: {error.strerror}") from error
