"""EventRateLimit: how many events a second the server, a namespace, a user or a source may write.

Configuration ``eventratelimit.admission.k8s.io/v1alpha1`` ``Configuration``; each limit is a token bucket
for each key, and the keys used longest ago are forgotten beyond ``cacheSize``. Events of both API
groups are counted together. Same rules and texts as ``plugin/pkg/admission/eventratelimit``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minikube_py.components.apiserver.admission.configuration import AdmissionConfiguration
from minikube_py.components.apiserver.configuration_file import Section, raise_errors
from minikube_py.components.apiserver.types import AdmissionRequest, Operation
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import FieldError, invalid_value, not_supported, required, too_many_requests

NAME = "EventRateLimit"
TYPES = ("Server", "Namespace", "User", "SourceAndObject")
_ACCEPTED = {("eventratelimit.admission.k8s.io/v1alpha1", "Configuration"): "event rate limits"}
default_cache_size = 4096
_GROUPS = ("", "events.k8s.io")


@dataclass(frozen=True, slots=True)
class Limit:
    """``burst`` events at once and ``qps`` a second in the long run, for each key of the type."""

    type: str
    qps: int
    burst: int
    cache_size: int = default_cache_size


def read_limits(configuration: AdmissionConfiguration) -> tuple[Limit, ...]:
    """The plugin's limits; none without a configuration. Raises ConfigurationError."""
    document = configuration.document(NAME, _ACCEPTED)
    if document is None:
        return ()
    errors: list[str] = []
    found: list[FieldError] = []
    root = Section(document.content, "", errors)
    limits = [_limit(section, found) for section in root.sections("limits")]
    root.close()
    if not limits:
        found.append(required("limits"))
    seen: set[str] = set()
    for index, limit in enumerate(limits):
        if limit.type in seen:
            found.append(invalid_value(f"limits[{index}].type", limit.type, "limit type is given more than once"))
        seen.add(limit.type)
    raise_errors(document.where, [*errors, *found])
    return tuple(limits)


def _limit(section: Section, found: list[FieldError]) -> Limit:
    limit = Limit(
        section.text("type"),
        section.number("qps"),
        section.number("burst"),
        section.number("cacheSize") or default_cache_size,
    )
    section.close()
    if limit.type not in TYPES:
        found.append(not_supported(section.at("type"), limit.type, TYPES))
    for field, value in (("burst", limit.burst), ("qps", limit.qps), ("cacheSize", limit.cache_size)):
        if value <= 0:
            found.append(invalid_value(section.at(field), value, "must be positive"))
    return limit


class _Buckets:
    """The token buckets of one limit."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self._full_at: dict[str, float] = {}

    def take(self, key: str, now: float) -> bool:
        """Take one token; ``now`` is monotonic. What is kept for a key is when its bucket will be full again."""
        limit = self.limit
        full_at = max(self._full_at.pop(key, now), now) + 1 / limit.qps
        allowed = full_at - now <= limit.burst / limit.qps + 1e-9
        if len(self._full_at) >= limit.cache_size:
            del self._full_at[next(iter(self._full_at))]
        self._full_at[key] = full_at if allowed else full_at - 1 / limit.qps
        return allowed


class EventRateLimit:
    """The plugin."""

    name = NAME

    def __init__(self, limits: Sequence[Limit], clock: Clock) -> None:
        self._buckets = [_Buckets(limit) for limit in limits]
        self._clock = clock

    def handles(self, request: AdmissionRequest) -> bool:
        resource = request.kind.resource
        return (
            resource.plural == "events"
            and resource.group in _GROUPS
            and request.operation in (Operation.CREATE, Operation.UPDATE)
            and not request.dry_run
        )

    async def admit(self, request: AdmissionRequest) -> None:
        """Nothing to fill in."""

    async def validate(self, request: AdmissionRequest) -> None:
        now = self._clock.monotonic()
        refusals = []
        for buckets in self._buckets:
            key = _key(buckets.limit.type, request)
            if not buckets.take(key, now):
                refusals.append(f"limit reached on type {buckets.limit.type} for key {key}")
        if refusals:
            why = refusals[0] if len(refusals) == 1 else "[" + ", ".join(refusals) + "]"
            raise too_many_requests(f"Too many requests: {why}", 0)


def _key(type: str, request: AdmissionRequest) -> str:
    match type:
        case "Namespace":
            return request.namespace
        case "User":
            return request.user.name
        case "SourceAndObject":
            event = request.object or {}
            source = event.get("source") or event.get("deprecatedSource") or {}
            about = event.get("involvedObject") or event.get("regarding") or {}
            fields = ("kind", "namespace", "name", "uid", "apiVersion")
            texts = [source.get("component") or event.get("reportingController") or "", source.get("host") or ""]
            return "".join(str(text) for text in (*texts, *(about.get(name) or "" for name in fields)))
    return ""
