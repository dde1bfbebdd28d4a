"""Small plugins about pods and nodes: Priority, DefaultTolerationSeconds, RuntimeClass,
TaintNodesByCondition and AlwaysPullImages.

Same rules and texts as their namesakes under ``plugin/pkg/admission``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from minikube_py.components.apiserver.admission.refusal import draft_spec, is_for, refuse
from minikube_py.components.apiserver.admission.tolerations import merged
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.metrics.admission import ADMIT
from minikube_py.components.apiserver.types import AdmissionRequest, Operation
from minikube_py.machinery.errors import not_supported
from minikube_py.machinery.objects import Object, name_of, thaw
from minikube_py.machinery.pod_resources import amounts
from minikube_py.machinery.resources import NODES, PODS, PRIORITY_CLASSES

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
toleration_seconds = 300


class PriorityPlugin:
    """Resolves a pod's priority class to its number; keeps the default class unique."""

    name = "Priority"
    handles_by_kind = True

    def __init__(self, priority_classes: Lookup) -> None:
        self._classes = priority_classes

    def handles(self, request: AdmissionRequest) -> bool:
        both = (Operation.CREATE, Operation.UPDATE)
        return is_for(request, PODS, *both) or is_for(request, PRIORITY_CLASSES, *both)

    async def admit(self, request: AdmissionRequest) -> None:
        pod = request.object
        if pod is None or request.kind.resource.plural != PODS.plural:
            return
        spec = draft_spec(pod)
        if request.operation is Operation.UPDATE:
            before = (request.old or {}).get("spec") or {}
            for field in ("priority", "preemptionPolicy"):
                if spec.get(field) is None and before.get(field) is not None:
                    spec[field] = before[field]
            return
        name, priority, policy = await self._resolve(request, spec.get("priorityClassName") or "")
        if name:
            spec["priorityClassName"] = name
        _set(request, spec, "priority", priority, "the integer value of priority")
        _set(request, spec, "preemptionPolicy", policy, "the string value of PreemptionPolicy")

    async def validate(self, request: AdmissionRequest) -> None:
        wanted = request.object
        if wanted is None or request.kind.resource.plural != PRIORITY_CLASSES.plural or not wanted.get("globalDefault"):
            return
        for other in await self._classes.list():
            if other.get("globalDefault") and name_of(other) != name_of(wanted):
                raise refuse(
                    request,
                    f"PriorityClass {name_of(other)} is already marked as default. Only one default can exist",
                )

    async def _resolve(self, request: AdmissionRequest, name: str) -> tuple[str, int, str]:
        """Name, value and preemption policy; without a name those of the default class."""
        if name:
            found = await self._classes.get(name)
            if found is None:
                raise refuse(request, f"no PriorityClass with name {name} was found")
        else:
            defaults = [item for item in await self._classes.list() if item.get("globalDefault")]
            if not defaults:
                return "", 0, "PreemptLowerPriority"
            found = min(defaults, key=lambda item: int(item.get("value") or 0))
        return name_of(found), int(found.get("value") or 0), found.get("preemptionPolicy") or "PreemptLowerPriority"


def _set(request: AdmissionRequest, spec: Object, field: str, value: int | str, words: str) -> None:
    given = spec.get(field)
    if given is not None and given != value:
        raise refuse(
            request,
            f"{words} ({given}) must not be provided in pod spec; priority admission controller "
            f"computed {value} from the given PriorityClass name",
        )
    spec[field] = value


class DefaultTolerationSeconds:
    """Pods stay five minutes on a node that is not ready or unreachable, unless they say otherwise."""

    name = "DefaultTolerationSeconds"
    phases = (ADMIT,)
    handles_by_kind = True

    def handles(self, request: AdmissionRequest) -> bool:
        return is_for(request, PODS, Operation.CREATE, Operation.UPDATE)

    async def admit(self, request: AdmissionRequest) -> None:
        if request.object is None:
            return
        spec = draft_spec(request.object)
        given = spec.get("tolerations") or []
        missing = [key for key in (NOT_READY, UNREACHABLE) if not _tolerates(given, key)]
        if missing:
            spec["tolerations"] = [*given, *(_toleration(key) for key in missing)]

    async def validate(self, request: AdmissionRequest) -> None:
        """Nothing further."""


def _tolerates(tolerations: Sequence[Object], key: str) -> bool:
    return any(item.get("key", "") in (key, "") and item.get("effect", "") in ("NoExecute", "") for item in tolerations)


def _toleration(key: str) -> Object:
    return {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": toleration_seconds}


class RuntimeClassPlugin:
    """Copies the overhead and the scheduling rules of a pod's RuntimeClass into the pod."""

    name = "RuntimeClass"
    handles_by_kind = True

    def __init__(self, runtime_classes: Lookup) -> None:
        self._classes = runtime_classes

    def handles(self, request: AdmissionRequest) -> bool:
        return is_for(request, PODS, Operation.CREATE)

    async def admit(self, request: AdmissionRequest) -> None:
        found = await self._class_of(request)
        if found is None or request.object is None:
            return
        spec = draft_spec(request.object)
        overhead = (found.get("overhead") or {}).get("podFixed")
        if overhead:
            if spec.get("overhead") and amounts(spec["overhead"]) != amounts(overhead):
                raise refuse(request, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
            spec["overhead"] = thaw(overhead)
        if found.get("scheduling") is not None:
            _merge_scheduling(request, spec, found["scheduling"])

    async def validate(self, request: AdmissionRequest) -> None:
        found = await self._class_of(request)
        given = ((request.object or {}).get("spec") or {}).get("overhead")
        wanted = ((found or {}).get("overhead") or {}).get("podFixed")
        if given and not wanted:
            why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            raise refuse(request, why)
        if wanted and amounts(given) != amounts(wanted):
            raise refuse(request, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")

    async def _class_of(self, request: AdmissionRequest) -> Object | None:
        name = ((request.object or {}).get("spec") or {}).get("runtimeClassName")
        if not name:
            return None
        found = await self._classes.get(name)
        if found is None:
            raise refuse(request, f'pod rejected: RuntimeClass "{name}" not found')
        return found


def _merge_scheduling(request: AdmissionRequest, spec: Object, scheduling: Object) -> None:
    wanted = scheduling.get("nodeSelector") or {}
    given = spec.get("nodeSelector") or {}
    for key, value in sorted(wanted.items()):
        if given.get(key, value) != value:
            raise refuse(
                request,
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {given[key]}",
            )
    if wanted:
        spec["nodeSelector"] = {**given, **wanted}
    tolerations = merged(spec.get("tolerations") or (), scheduling.get("tolerations") or ())
    if tolerations:
        spec["tolerations"] = tolerations


class TaintNodesByCondition:
    """New nodes start with the not-ready taint, so that nothing is scheduled before they report."""

    name = "TaintNodesByCondition"
    handles_by_kind = True

    def handles(self, request: AdmissionRequest) -> bool:
        return is_for(request, NODES, Operation.CREATE)

    async def admit(self, request: AdmissionRequest) -> None:
        if request.object is None:
            return
        spec = draft_spec(request.object)
        taints = spec.get("taints") or []
        taint = {"key": NOT_READY, "effect": "NoSchedule"}
        if not any(item.get("key") == NOT_READY and item.get("effect") == "NoSchedule" for item in taints):
            spec["taints"] = [*taints, taint]

    async def validate(self, request: AdmissionRequest) -> None:
        """Nothing further."""


class AlwaysPullImages:
    """Every container pulls its image, so that nobody uses an image he may not pull."""

    name = "AlwaysPullImages"
    handles_by_kind = True

    def handles(self, request: AdmissionRequest) -> bool:
        return is_for(request, PODS, Operation.CREATE, Operation.UPDATE)

    async def admit(self, request: AdmissionRequest) -> None:
        spec = (request.object or {}).get("spec") or {}
        if not _same_images(request):
            for _, container in _containers(spec):
                container["imagePullPolicy"] = "Always"

    async def validate(self, request: AdmissionRequest) -> None:
        """What a later mutation has set otherwise is refused."""
        spec = (request.object or {}).get("spec") or {}
        if _same_images(request):
            return
        for field, container in _containers(spec):
            given = container.get("imagePullPolicy")
            if given != "Always":
                path = f"spec.{field}[{container.get('name')}].imagePullPolicy"
                raise refuse(request, f"{path}: {not_supported(path, given or '', ['Always']).body()}")


def _containers(spec: Object) -> Iterator[tuple[str, Object]]:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(field) or ():
            yield field, container


def _same_images(request: AdmissionRequest) -> bool:
    """Whether an update leaves every image as it was."""
    if request.operation is not Operation.UPDATE:
        return False
    new, old = ((obj or {}).get("spec") or {} for obj in (request.object, request.old))
    return [item.get("image") for _, item in _containers(new)] == [item.get("image") for _, item in _containers(old)]
