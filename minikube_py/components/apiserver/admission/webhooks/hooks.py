"""The webhooks of all configurations, read once for each change of a configuration.

Order is by configuration name, then as listed. Only valid objects are stored, so reading cannot fail;
what fails is calling.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.client.types import Client, EventType
from minikube_py.components.apiserver.admission.expressions.conditions import MatchConditions, read_conditions
from minikube_py.components.apiserver.admission.matching import Criteria, read_criteria
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object, name_of, uid_of
from minikube_py.machinery.resources import Resource

log = logging.getLogger(__name__)

MUTATING = Resource(
    "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", False
)
VALIDATING = Resource(
    "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", False
)
default_timeout_seconds = 10


@dataclass(frozen=True, slots=True)
class ServiceReference:
    """A webhook in the cluster."""

    namespace: str
    name: str
    port: int
    path: str


@dataclass(frozen=True, slots=True)
class Address:
    """How a webhook is reached: exactly one of ``url`` and ``service``; ``ca_bundle`` is PEM (empty: the system's)."""

    url: str
    service: ServiceReference | None
    ca_bundle: bytes


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook of one configuration."""

    configuration: str
    name: str
    uid: str
    """Unique among all hooks: configuration, name, and its count among equal names."""
    address: Address
    criteria: Criteria
    conditions: MatchConditions
    fails_closed: bool
    timeout_seconds: int
    side_effects: str
    review_versions: tuple[str, ...]
    reinvoked: bool
    """``reinvocationPolicy: IfNeeded``."""


class HookSource:
    """The hooks of one kind of configuration. It follows the configurations from the first question on."""

    def __init__(self, client: Client, resource: Resource) -> None:
        self._client = client
        self._resource = resource
        self._hooks: Sequence[Hook] | None = None
        self._kept: dict[tuple[str, int], Sequence[Hook]] = {}
        self._following = False

    def hooks(self) -> Sequence[Hook]:
        """All hooks in the order in which they are asked."""
        if not self._following:
            self._following = True
            self._client.informer(self._resource).subscribe(self._changed)
        if self._hooks is None:
            self._hooks = self._read()
        return self._hooks

    def _read(self) -> Sequence[Hook]:
        """What other configurations have compiled is kept when one changes."""
        kept, self._kept = self._kept, {}
        hooks: list[Hook] = []
        for raw in sorted(self._client.informer(self._resource).list(), key=name_of):
            version = (uid_of(raw), int(raw["metadata"].get("generation") or 0))
            found = kept.get(version)
            self._kept[version] = found = _readable(raw) if found is None else found
            hooks += found
        return hooks

    async def synced(self) -> None:
        """Return once all configurations are known."""
        await self._client.informer(self._resource).synced()

    def _changed(self, event: EventType, obj: Object, previous: Object | None) -> None:
        self._hooks = None


def _readable(configuration: Object) -> Sequence[Hook]:
    """The hooks of a configuration; none of one that was written past validation and cannot be read.

    It must not stop all writes, because then nobody could remove it.
    """
    try:
        return read_hooks(configuration)
    except (ApiError, AttributeError, KeyError, TypeError, ValueError):
        log.exception("webhook configuration cannot be read and is ignored", extra={"key": name_of(configuration)})
        return ()


def read_hooks(configuration: Object) -> list[Hook]:
    """The hooks of one stored configuration."""
    found: list[Hook] = []
    counts: dict[str, int] = {}
    owner = name_of(configuration)
    for raw in configuration.get("webhooks") or ():
        name = str(raw.get("name") or "")
        count = counts.get(name, 0)
        counts[name] = count + 1
        found.append(_hook(owner, name, f"{owner}/{name}/{count}", raw))
    return found


def _hook(owner: str, name: str, uid: str, raw: Mapping[str, Any]) -> Hook:
    closed = (raw.get("failurePolicy") or "Fail") == "Fail"
    return Hook(
        configuration=owner,
        name=name,
        uid=uid,
        address=read_address(raw.get("clientConfig") or {}),
        criteria=read_criteria(raw, rules="rules", any_resource=False),
        conditions=read_conditions(raw.get("matchConditions") or (), fails_closed=closed),
        fails_closed=closed,
        timeout_seconds=int(raw.get("timeoutSeconds") or default_timeout_seconds),
        side_effects=str(raw.get("sideEffects") or ""),
        review_versions=tuple(raw.get("admissionReviewVersions") or ()),
        reinvoked=raw.get("reinvocationPolicy") == "IfNeeded",
    )


def read_address(config: Mapping[str, Any]) -> Address:
    """Where a ``clientConfig`` points; also that of conversion webhooks."""
    service = config.get("service")
    reference = None
    if service is not None:
        reference = ServiceReference(
            str(service.get("namespace") or ""),
            str(service.get("name") or ""),
            int(service.get("port") or 443),
            str(service.get("path") or ""),
        )
    try:
        bundle = base64.b64decode(config.get("caBundle") or "", validate=True)
    except (binascii.Error, ValueError):
        bundle = b"-"  # no certificate; the call reports it
    return Address(str(config.get("url") or ""), reference, bundle)
