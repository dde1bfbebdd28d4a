"""LimitRanger: default requests and limits, and their bounds, for each namespace.

Same rules and texts as ``plugin/pkg/admission/limitranger``. Resource names are gone through in
alphabetical order (the reference's is random).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from minikube_py.components.apiserver.admission.refusal import draft_spec, is_for, refuse
from minikube_py.components.apiserver.authorization.rbac import aggregate
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.types import AdmissionRequest, Operation
from minikube_py.machinery.objects import Object, is_deleting, name_of
from minikube_py.machinery.pod_resources import Amounts, amounts, container_amounts, pod_amounts
from minikube_py.machinery.quantities import Quantity
from minikube_py.machinery.resources import PERSISTENT_VOLUME_CLAIMS, PODS

ANNOTATION = "kubernetes.io/limit-ranger"


class LimitRanger:
    """Pods (on creation and resize) and PersistentVolumeClaims."""

    name = "LimitRanger"
    handles_by_kind = True

    def __init__(self, limit_ranges: Lookup) -> None:
        self._limit_ranges = limit_ranges

    def handles(self, request: AdmissionRequest) -> bool:
        return (
            is_for(request, PODS, Operation.CREATE)
            or is_for(request, PODS, Operation.UPDATE, subresource="resize")
            or is_for(request, PERSISTENT_VOLUME_CLAIMS, Operation.CREATE, Operation.UPDATE)
        )

    async def admit(self, request: AdmissionRequest) -> None:
        """Fill in defaults; a pod that is resized gets them as well."""
        if request.object is None or request.kind.resource.plural != PODS.plural:
            return
        for limit_range in await self._of(request.namespace):
            _fill_defaults(request.object, limit_range)

    async def validate(self, request: AdmissionRequest) -> None:
        """Check bounds."""
        draft = request.object
        if draft is None or (request.operation is Operation.UPDATE and is_deleting(draft)):
            return
        for limit_range in await self._of(request.namespace):
            items = (limit_range.get("spec") or {}).get("limits") or ()
            if request.kind.resource.plural == PODS.plural:
                problems = [problem for item in items for problem in _pod_problems(item, draft.get("spec") or {})]
            else:
                problems = [problem for item in items for problem in _claim_problems(item, draft)]
            if problems:
                raise refuse(request, aggregate(problems))

    async def _of(self, namespace: str) -> list[Object]:
        found = await self._limit_ranges.list(namespace)
        return sorted(found, key=name_of) if found else []


def _fill_defaults(pod: Object, limit_range: Object) -> None:
    limits: dict[str, Any] = {}
    requests: dict[str, Any] = {}
    for item in (limit_range.get("spec") or {}).get("limits") or ():
        if item.get("type") == "Container":
            limits |= item.get("default") or {}
            requests |= item.get("defaultRequest") or {}
    if not limits and not requests:
        return
    notes: list[str] = []
    spec = draft_spec(pod)
    for field, word in (("containers", "container"), ("initContainers", "init container")):
        for container in spec.get(field) or ():
            notes += _fill_container(container, requests, limits, word)
    if notes:
        meta = pod.setdefault("metadata", {})
        meta["annotations"] = {
            **(meta.get("annotations") or {}),
            ANNOTATION: f"LimitRanger plugin set: {'; '.join(notes)}",
        }


def _fill_container(
    container: Object, requests: Mapping[str, Any], limits: Mapping[str, Any], word: str
) -> Iterator[str]:
    resources = container.get("resources")
    if resources is None:
        resources = container["resources"] = {}
    for side, defaults in (("requests", requests), ("limits", limits)):
        given = resources.get(side) or {}
        missing = sorted(name for name in defaults if name not in given)
        if missing:
            resources[side] = {**given, **{name: defaults[name] for name in missing}}
            yield f"{', '.join(missing)} {side[:-1]} for {word} {container.get('name', '')}"


def _pod_problems(item: Object, spec: Object) -> Iterator[str]:
    if item.get("type") == "Container":
        for field in ("containers", "initContainers"):
            for container in spec.get(field) or ():
                requests, limits = container_amounts(container, "requests"), container_amounts(container, "limits")
                yield from _problems(item, requests, limits)
    elif item.get("type") == "Pod":
        yield from _problems(item, pod_amounts(spec, "requests"), pod_amounts(spec, "limits"))


def _problems(item: Object, requests: Amounts, limits: Amounts) -> Iterator[str]:
    kind = item["type"]
    for name, bound in sorted(amounts(item.get("min")).items()):
        start = f"minimum {name} usage per {kind} is {bound}"
        if name not in requests:
            yield f"{start}.  No request is specified"
        elif requests[name] < bound:
            yield f"{start}, but request is {requests[name]}"
        elif name in limits and limits[name] < bound:
            yield f"{start}, but limit is {limits[name]}"
    for name, bound in sorted(amounts(item.get("max")).items()):
        start = f"maximum {name} usage per {kind} is {bound}"
        if name not in limits:
            yield f"{start}.  No limit is specified"
        elif limits[name] > bound:
            yield f"{start}, but limit is {limits[name]}"
        elif name in requests and requests[name] > bound:
            yield f"{start}, but request is {requests[name]}"
    for name, bound in sorted(amounts(item.get("maxLimitRequestRatio")).items()):
        if problem := _ratio_problem(name, bound, requests.get(name), limits.get(name), kind):
            yield problem


def _ratio_problem(name: str, bound: Quantity, request: Quantity | None, limit: Quantity | None, kind: str) -> str:
    start = f"{name} max limit to request ratio per {kind} is {bound}"
    if not request:
        return f"{start}, but no request is specified or request is 0"
    if not limit:
        return f"{start}, but no limit is specified or limit is 0"
    if limit.nano * 10**9 > request.nano * bound.nano:
        return f"{start}, but provided ratio is {limit.nano / request.nano:f}"
    return ""


def _claim_problems(item: Object, claim: Object) -> Iterator[str]:
    if item.get("type") != "PersistentVolumeClaim":
        return
    requests = amounts((((claim.get("spec") or {}).get("resources")) or {}).get("requests"))
    for word, field in (("minimum", "min"), ("maximum", "max")):
        for name, bound in sorted(amounts(item.get(field)).items()):
            start = f"{word} {name} usage per PersistentVolumeClaim is {bound}"
            if name not in requests:
                yield f"{start}.  No request is specified"
            elif requests[name] < bound if field == "min" else requests[name] > bound:
                yield f"{start}, but request is {requests[name]}"
