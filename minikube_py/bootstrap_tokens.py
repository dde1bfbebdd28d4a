"""Bootstrap tokens through the API: Secrets ``kube-system/bootstrap-token-<id>``, as kubeadm and k3s make them.

``create`` also sees to it that the token's group may ask for node certificates; see ``node_bindings``.
All functions raise ApiError; ``TokenError`` is for what the user gave.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass

from minikube_py.client.types import Client, WriteOptions
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError, is_already_exists, is_not_found
from minikube_py.machinery.objects import Object, name_of
from minikube_py.machinery.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, SECRETS, Resource
from minikube_py.machinery.times import parse_time, rfc3339

NAMESPACE = "kube-system"
SECRET_TYPE = "bootstrap.kubernetes.io/token"
NAME_PREFIX = "bootstrap-token-"
USAGES = ("authentication", "signing")
NODE_GROUP = "system:bootstrappers:pyk3s:default-node-token"
NODE_STORAGE = "pyk3s:node-storage"
_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_IDENTIFIER = re.compile(r"[a-z0-9]{6}")
_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_ALPHABET = string.ascii_lowercase + string.digits
_WRITE = WriteOptions(field_manager="pyk3s")


class TokenError(ValueError):
    """A token, duration, group or usage that cannot be used; the text names the mend."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token as ``list`` shows it. ``expires`` is in Unix seconds, None without an end."""

    identifier: str
    expires: float | None
    usages: tuple[str, ...]
    groups: tuple[str, ...]
    description: str


def generate() -> str:
    """A new token, known to nobody yet."""
    parts = ("".join(secrets.choice(_ALPHABET) for _ in range(length)) for length in (6, 16))
    return ".".join(parts)


def parse_ttl(text: str) -> float:
    """Seconds of a Go duration (``24h``, ``1h30m``) or of days (``7d``); 0 is without end. Raises TokenError."""
    if text in ("0", ""):
        return 0.0
    parts = list(_DURATION.finditer(text))
    if "".join(part[0] for part in parts) != text:
        raise TokenError(f"--ttl {text!r} is not a duration such as 24h, 90m or 0")
    return sum(float(part[1]) * _UNITS[part[2]] for part in parts)


async def create(
    client: Client,
    clock: Clock,
    token: str = "",
    *,
    ttl_seconds: float = 86_400.0,
    usages: Sequence[str] = USAGES,
    groups: Sequence[str] = (NODE_GROUP,),
    description: str = "",
) -> str:
    """Make the token known (a generated one for none); returns it. Raises TokenError, ApiError."""
    token = token or generate()
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise TokenError(f"token {token!r} does not have the form abcdef.0123456789abcdef")
    if wrong := [usage for usage in usages if usage not in USAGES]:
        raise TokenError(f"unknown usage {wrong[0]!r}; known are {', '.join(USAGES)}")
    if wrong := [group for group in groups if not _GROUP.fullmatch(group)]:
        raise TokenError(f"group {wrong[0]!r} must begin with system:bootstrappers:")
    data = {"token-id": found[1], "token-secret": found[2]}
    data |= {f"usage-bootstrap-{usage}": "true" for usage in usages}
    if ttl_seconds:
        data["expiration"] = rfc3339(clock.now() + ttl_seconds)
    if "authentication" in usages and groups:
        data["auth-extra-groups"] = ",".join(groups)
    if description:
        data["description"] = description
    secret: Object = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": NAME_PREFIX + found[1]},
        "type": SECRET_TYPE,
        "data": {key: base64.b64encode(value.encode()).decode("ascii") for key, value in data.items()},
    }
    try:
        await client.create(SECRETS, secret, NAMESPACE, options=_WRITE)
    except ApiError as error:
        if is_already_exists(error):
            raise TokenError(f"a token with the id {found[1]} exists; delete it or choose another") from error
        raise
    if NODE_GROUP in groups:
        await ensure_bindings(client)
    return token


async def tokens(client: Client) -> list[Token]:
    """All tokens, by id."""
    found = await client.list(SECRETS, NAMESPACE, field_selector=f"type={SECRET_TYPE}")
    return sorted((_token(secret) for secret in found.items), key=lambda token: token.identifier)


async def delete(client: Client, token: str) -> str:
    """Forget a token, given whole or by its id; returns the id. Raises TokenError, also when there is none."""
    identifier = token.partition(".")[0]
    if not _IDENTIFIER.fullmatch(identifier):
        raise TokenError(f"{token!r} is neither a token nor a token's id (six characters of a-z and 0-9)")
    try:
        await client.delete(SECRETS, NAME_PREFIX + identifier, NAMESPACE)
    except ApiError as error:
        if is_not_found(error):
            raise TokenError(f"there is no token with the id {identifier}; see `pyk3s token list`") from error
        raise
    return identifier


def node_bindings() -> list[Object]:
    """What lets a bootstrapping node ask for its certificate and have it approved, and a node renew its own.

    kubeadm makes the same three under its own names. The fourth lets a worker's proxy and pod network, which act as
    their node, read Services, EndpointSlices and Nodes.
    """
    return [
        _binding("pyk3s:kubelet-bootstrap", "system:node-bootstrapper", NODE_GROUP),
        _binding(
            "pyk3s:node-autoapprove-bootstrap",
            "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
            NODE_GROUP,
        ),
        _binding(
            "pyk3s:node-autoapprove-certificate-rotation",
            "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
            "system:nodes",
        ),
        _binding("pyk3s:node-proxier", "system:node-proxier", "system:nodes"),
        _binding(NODE_STORAGE, NODE_STORAGE, "system:nodes"),
    ]


def node_roles() -> list[Object]:
    """What a node may do beyond Kubernetes' own roles: see the volumes whose folders it has, and tell that one is gone.

    Admission (NodeRestriction) looks at what it writes: the finalizer of volumes on itself, nothing else.
    """
    rule = {"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": ["get", "list", "watch", "patch"]}
    kind = {"apiVersion": CLUSTER_ROLES.api_version, "kind": CLUSTER_ROLES.kind}
    return [{**kind, "metadata": {"name": NODE_STORAGE}, "rules": [rule]}]


def _binding(name: str, role: str, group: str) -> Object:
    rbac = "rbac.authorization.k8s.io"
    return {
        "apiVersion": CLUSTER_ROLE_BINDINGS.api_version,
        "kind": CLUSTER_ROLE_BINDINGS.kind,
        "metadata": {"name": name},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": rbac, "kind": "Group", "name": group}],
    }


async def ensure_bindings(client: Client) -> None:
    """Make the roles and bindings that are missing; an administrator's own word stands. Raises ApiError."""
    await asyncio.gather(
        _ensure(client, CLUSTER_ROLES, node_roles()), _ensure(client, CLUSTER_ROLE_BINDINGS, node_bindings())
    )


async def _ensure(client: Client, resource: Resource, wanted: Sequence[Object]) -> None:
    there = {name_of(one) for one in (await client.list(resource)).items}
    missing = [one for one in wanted if name_of(one) not in there]
    await asyncio.gather(*(_create(client, resource, one) for one in missing))  # at once: one commit of the datastore


async def _create(client: Client, resource: Resource, obj: Object) -> None:
    try:
        await client.create(resource, obj, options=_WRITE)
    except ApiError as error:
        if not is_already_exists(error):  # another server was faster
            raise


def _token(secret: Object) -> Token:
    identifier = _field(secret, "token-id") or name_of(secret).removeprefix(NAME_PREFIX)
    usages = tuple(usage for usage in USAGES if _field(secret, f"usage-bootstrap-{usage}") == "true")
    groups = tuple(group for group in _field(secret, "auth-extra-groups").split(",") if group)
    return Token(identifier, _expires(secret), usages, groups, _field(secret, "description"))


def _expires(secret: Object) -> float | None:
    text = _field(secret, "expiration")
    try:
        return parse_time(text) if text else None
    except ValueError:
        return 0.0  # the authenticator takes it for expired as well


def _field(secret: Object, key: str) -> str:
    try:
        return base64.b64decode((secret.get("data") or {}).get(key) or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
