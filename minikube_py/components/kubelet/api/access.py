"""Who may use the node API: client certificates and bearer tokens, then SubjectAccessReviews.

Answers of the API server are kept for a while, as the kubelet's delegated authentication and
authorization do: two minutes for tokens, five for "yes", 30 seconds for "no". Tables are bounded.
"""

from __future__ import annotations

import hashlib
import ssl
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from minikube_py.client.types import Client
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS

token_seconds = 120.0
allowed_seconds = 300.0
denied_seconds = 30.0
most_entries = 1024

_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_SUBRESOURCES = (
    ("/stats", "stats"),
    ("/metrics", "metrics"),
    ("/logs", "log"),
    ("/spec", "spec"),
    ("/checkpoint", "checkpoint"),
)
_FINE = (("/pods", "pods"), ("/runningpods", "pods"), ("/healthz", "healthz"), ("/configz", "configz"))

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated user of the node API."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


ANONYMOUS = Identity("system:anonymous", ("system:unauthenticated",))


class _Kept(Generic[V]):
    """A bounded table of answers with an end each."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: OrderedDict[Hashable, tuple[float, V]] = OrderedDict()

    def get(self, key: Hashable) -> V | None:
        found = self._entries.get(key)
        if found is None or found[0] < self._clock.monotonic():
            return None
        return found[1]

    def put(self, key: Hashable, value: V, seconds: float) -> None:
        self._entries[key] = self._clock.monotonic() + seconds, value
        self._entries.move_to_end(key)
        while len(self._entries) > most_entries:
            self._entries.popitem(last=False)


def certificate_identity(tls: ssl.SSLObject | None, now: float) -> Identity | None:
    """The identity in a verified client certificate that is valid now: CN is the user, O are its groups."""
    certificate = tls.getpeercert() if tls is not None else None
    if not certificate:
        return None
    begin, end = (ssl.cert_time_to_seconds(str(certificate[key])) for key in ("notBefore", "notAfter"))
    if not begin <= now <= end:
        return None
    names: list[str] = []
    groups: list[str] = []
    subject = certificate.get("subject") or ()
    for part in subject:
        for pair in part:
            if pair[0] == "commonName":
                names.append(str(pair[1]))
            elif pair[0] == "organizationName":
                groups.append(str(pair[1]))
    return Identity(names[0], (*groups, "system:authenticated")) if names else None


def subresources(path: str) -> Sequence[str]:
    """The subresources of ``nodes`` of which one must be granted for this path, the finest first."""
    for prefix, name in _SUBRESOURCES:
        if path == prefix or path.startswith(prefix + "/"):
            return (name,)
    for prefix, name in _FINE:
        if path == prefix or path.startswith(prefix + "/"):
            return (name, "proxy")
    return ("proxy",)


def verb_of(method: str) -> str:
    return _VERBS.get(method, "")


class Access:
    """Asks the API server who somebody is and what they may do. Raises ApiError when it cannot."""

    def __init__(self, client: Client, clock: Clock, node_name: str) -> None:
        self._client = client
        self._node_name = node_name
        self._tokens: _Kept[Identity] = _Kept(clock)
        self._grants: _Kept[bool] = _Kept(clock)

    async def token_identity(self, token: str) -> Identity | None:
        """Whom the token stands for; None when it is not valid."""
        key = hashlib.sha256(token.encode()).digest()
        known = self._tokens.get(key)
        if known is not None:
            return known
        body: Object = {
            "apiVersion": TOKEN_REVIEWS.api_version,
            "kind": TOKEN_REVIEWS.kind,
            "metadata": {},
            "spec": {"token": token},
        }
        status = (await self._client.create(TOKEN_REVIEWS, body)).get("status") or {}
        if not status.get("authenticated"):
            return None
        user = status.get("user") or {}
        extra = {key: tuple(values) for key, values in (user.get("extra") or {}).items()}
        found = Identity(user.get("username", ""), tuple(user.get("groups") or ()), user.get("uid", ""), extra)
        self._tokens.put(key, found, token_seconds)
        return found

    async def allowed(self, who: Identity, method: str, path: str) -> bool:
        """Whether the identity may make this request."""
        for name in subresources(path):
            if await self._granted(who, verb_of(method), name):
                return True
        return False

    async def _granted(self, who: Identity, verb: str, subresource: str) -> bool:
        key = (who.name, who.groups, who.uid, tuple(sorted(who.extra.items())), verb, subresource)
        known = self._grants.get(key)
        if known is not None:
            return known
        body: Object = {
            "apiVersion": SUBJECT_ACCESS_REVIEWS.api_version,
            "kind": SUBJECT_ACCESS_REVIEWS.kind,
            "metadata": {},
            "spec": {
                "user": who.name,
                "groups": list(who.groups),
                "uid": who.uid,
                "extra": {name: list(values) for name, values in who.extra.items()},
                "resourceAttributes": {
                    "verb": verb,
                    "version": "v1",
                    "resource": "nodes",
                    "subresource": subresource,
                    "name": self._node_name,
                },
            },
        }
        answer = await self._client.create(SUBJECT_ACCESS_REVIEWS, body)
        granted = bool((answer.get("status") or {}).get("allowed"))
        self._grants.put(key, granted, allowed_seconds if granted else denied_seconds)
        return granted
