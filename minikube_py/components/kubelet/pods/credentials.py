"""Registry credentials from imagePullSecrets (Docker configuration files), by registry and path."""

from __future__ import annotations

import base64
import binascii
import fnmatch
from collections.abc import Iterable, Sequence

import orjson

from minikube_py.components.kubelet.runtime.types import RegistryCredentials
from minikube_py.machinery.objects import Object

_HUB = "index.docker.io"


def credentials_for(image: str, secrets: Iterable[Object]) -> Sequence[RegistryCredentials]:
    """Credentials that fit the image, the most specific entry first. Broken entries are left out."""
    host, path = split_image(image)
    found: list[tuple[int, RegistryCredentials]] = []
    for secret in secrets:
        for server, entry in _entries(secret).items():
            pattern_host, _, pattern_path = _normal(server).partition("/")
            if _host_fits(host, pattern_host) and path.startswith(pattern_path):
                credentials = _credentials(server, entry)
                if credentials is not None:
                    found.append((len(pattern_path), credentials))
    return [item for _, item in sorted(found, key=lambda pair: pair[0], reverse=True)]


def split_image(image: str) -> tuple[str, str]:
    """Registry host and repository path of an image reference; Docker Hub where none is named."""
    first, slash, rest = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return (_HUB if first == "docker.io" else first), rest
    return _HUB, image if slash else f"library/{image}"


def _normal(server: str) -> str:
    text = server.split("://", 1)[-1].rstrip("/")
    for suffix in ("/v1", "/v2"):
        text = text.removesuffix(suffix)
    host, slash, path = text.partition("/")
    return ("index.docker.io" if host in ("docker.io", "registry-1.docker.io") else host) + slash + path


def _host_fits(host: str, pattern: str) -> bool:
    parts, wanted = host.split("."), pattern.split(".")
    return len(parts) == len(wanted) and all(
        fnmatch.fnmatchcase(part, want) for part, want in zip(parts, wanted, strict=True)
    )


def _entries(secret: Object) -> dict[str, Object]:
    data = secret.get("data") or {}
    try:
        if ".dockerconfigjson" in data:
            content = orjson.loads(base64.b64decode(data[".dockerconfigjson"]))
            return dict(content.get("auths") or {})
        if ".dockercfg" in data:
            return dict(orjson.loads(base64.b64decode(data[".dockercfg"])))
    except (ValueError, AttributeError, TypeError):
        # Kubernetes ignores a malformed pull secret too: the pull then fails with the registry's answer.
        return {}
    return {}


def _credentials(server: str, entry: Object) -> RegistryCredentials | None:
    username, password = entry.get("username") or "", entry.get("password") or ""
    if not username and entry.get("auth"):
        try:
            username, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
    return RegistryCredentials(
        username=username,
        password=password,
        server_address=server,
        identity_token=entry.get("identitytoken") or "",
        registry_token=entry.get("registrytoken") or "",
    )
