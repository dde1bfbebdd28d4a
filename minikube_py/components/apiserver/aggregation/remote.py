"""APIServices that name a Service: pure reading of the objects."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minikube_py.machinery.objects import Object, name_of


@dataclass(frozen=True, slots=True)
class Remote:
    """A group version behind a Service. ``ca_bundle`` is PEM; empty: the system's authorities."""

    name: str
    group: str
    version: str
    namespace: str
    service: str
    port: int
    ca_bundle: bytes
    insecure: bool
    group_priority: int
    version_priority: int

    @property
    def host(self) -> str:
        """The name that the server's certificate must have."""
        return f"{self.service}.{self.namespace}.svc"

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.port}"

    @property
    def path(self) -> str:
        return f"/apis/{self.group}/{self.version}"


def read_remote(obj: Object) -> Remote | None:
    """The remote of an APIService; None for a local one."""
    spec: Mapping[str, Any] = obj.get("spec") or {}
    service: Mapping[str, Any] | None = spec.get("service")
    if service is None:
        return None
    try:
        bundle = base64.b64decode(spec.get("caBundle") or "", validate=True)
    except (binascii.Error, ValueError):
        bundle = b"unusable"  # told when it is used: the check fails with the reason
    return Remote(
        name=name_of(obj),
        group=spec.get("group") or "",
        version=spec.get("version") or "",
        namespace=service.get("namespace") or "",
        service=service.get("name") or "",
        port=service.get("port") or 443,
        ca_bundle=bundle,
        insecure=bool(spec.get("insecureSkipTLSVerify")),
        group_priority=spec.get("groupPriorityMinimum") or 0,
        version_priority=spec.get("versionPriority") or 0,
    )
