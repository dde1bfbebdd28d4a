"""Plugins about tolerations, and about where pods keep away from each other; none of them is on by default.

PodTolerationRestriction's configuration::

    apiVersion: podtolerationrestriction.admission.k8s.io/v1alpha1
    kind: Configuration
    default: [{key: team, operator: Exists}]       # for namespaces without the annotation
    whitelist: [{key: team, operator: Exists}]

The annotations ``scheduler.alpha.kubernetes.io/defaultTolerations`` and ``…/tolerationsWhitelist`` of a namespace
hold its own lists as JSON. Same rules and texts as ``plugin/pkg/admission/podtolerationrestriction``,
``extendedresourcetoleration`` and ``antiaffinity``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from minikube_py.components.apiserver.admission.configuration import AdmissionConfiguration
from minikube_py.components.apiserver.admission.refusal import draft_spec, failed, is_for, refuse
from minikube_py.components.apiserver.admission.tolerations import Toleration, all_covered, merged
from minikube_py.components.apiserver.configuration_file import Section, raise_errors
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.metrics.admission import ADMIT, VALIDATE
from minikube_py.components.apiserver.types import AdmissionRequest, Operation
from minikube_py.machinery.errors import not_found
from minikube_py.machinery.json_errors import explain
from minikube_py.machinery.kinds.common.podspec.scheduling import toleration_errors
from minikube_py.machinery.kinds.common.resource_names import is_extended
from minikube_py.machinery.kinds.core.pod_strategy import qos_class
from minikube_py.machinery.objects import metadata
from minikube_py.machinery.resources import NAMESPACES, PODS

DEFAULTS = "scheduler.alpha.kubernetes.io/defaultTolerations"
ALLOWED = "scheduler.alpha.kubernetes.io/tolerationsWhitelist"
_NAME = "PodTolerationRestriction"
_ACCEPTED = {("podtolerationrestriction.admission.k8s.io/v1alpha1", "Configuration"): "tolerations"}
_MEMORY_PRESSURE = {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}
_HOSTNAME = "kubernetes.io/hostname"


@dataclass(frozen=True, slots=True)
class TolerationSettings:
    """What holds for namespaces without lists of their own."""

    default: Sequence[Toleration] = ()
    allowed: Sequence[Toleration] = ()


def read_settings(configuration: AdmissionConfiguration) -> TolerationSettings:
    """The plugin's settings. Raises ConfigurationError."""
    document = configuration.document(_NAME, _ACCEPTED)
    if document is None:
        return TolerationSettings()
    errors: list[str] = []
    section = Section(document.content, "", errors)
    lists: list[Sequence[Toleration]] = []
    for name in ("default", "whitelist"):
        raw = section.raw(name)
        found = [] if raw is None else raw
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            errors.append(f"{section.at(name)}: must be a list of tolerations")
            found = []
        errors += [f"{error.field}: {error.body()}" for error in toleration_errors(name, found)]
        lists.append(found)
    section.close()
    raise_errors(document.where, errors)
    return TolerationSettings(lists[0], lists[1])


class PodTolerationRestriction:
    """New pods get their namespace's tolerations, and have none that the namespace does not allow."""

    name = _NAME
    handles_by_kind = True

    def __init__(self, namespaces: Lookup, settings: TolerationSettings) -> None:
        self._namespaces = namespaces
        self._settings = settings

    def handles(self, request: AdmissionRequest) -> bool:
        return is_for(request, PODS, Operation.CREATE, Operation.UPDATE)

    async def admit(self, request: AdmissionRequest) -> None:
        if request.object is None:
            return
        spec = draft_spec(request.object)
        further: list[Toleration] = []
        if request.operation is Operation.CREATE:
            own = await self._list(request.namespace, DEFAULTS)
            further += self._settings.default if own is None else own
        if qos_class(spec) != "BestEffort":
            further.append(_MEMORY_PRESSURE)
        if further:
            spec["tolerations"] = merged(spec.get("tolerations") or (), further)
        await self.validate(request)

    async def validate(self, request: AdmissionRequest) -> None:
        given = ((request.object or {}).get("spec") or {}).get("tolerations")
        if not given:
            return
        own, scope = await self._list(request.namespace, ALLOWED), "namespace"
        if own is None:
            own, scope = self._settings.allowed, "cluster"
        if not all_covered(given, own):
            raise failed(
                "pod tolerations (possibly merged with namespace default tolerations) conflict with its "
                f"{scope} whitelist"
            )

    async def _list(self, namespace: str, annotation: str) -> Sequence[Toleration] | None:
        """A namespace's own tolerations, None for those of the cluster. Raises ApiError."""
        found = await self._namespaces.get(namespace)
        if found is None:
            raise not_found(NAMESPACES.group, NAMESPACES.plural, namespace)
        text = (metadata(found).get("annotations") or {}).get(annotation)
        if not text:
            return None if text is None else ()
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise failed(explain(text.encode()) or str(error)) from error
        if value is not None and not (isinstance(value, list) and all(isinstance(item, dict) for item in value)):
            raise failed("json: cannot unmarshal into Go value of type []v1.Toleration")
        return value or ()


class ExtendedResourceToleration:
    """Pods that ask for somebody's own resources tolerate the taint of nodes that are kept for these."""

    name = "ExtendedResourceToleration"
    phases = (ADMIT,)
    handles_by_kind = True

    def handles(self, request: AdmissionRequest) -> bool:
        return is_for(request, PODS, Operation.CREATE, Operation.UPDATE)

    async def admit(self, request: AdmissionRequest) -> None:
        if request.object is None:
            return
        spec = draft_spec(request.object)
        wanted = {
            name
            for field in ("containers", "initContainers")
            for container in spec.get(field) or ()
            for name in (container.get("resources") or {}).get("requests") or {}
            if is_extended(name)
        }
        for name in sorted(wanted):
            _tolerate(spec, {"key": name, "operator": "Exists", "effect": "NoSchedule"})

    async def validate(self, request: AdmissionRequest) -> None:
        """Nothing further."""


def _tolerate(spec: dict[str, object], toleration: dict[str, str]) -> None:
    """Have the toleration among the pod's, in the place of one that differs in its seconds alone."""
    given = spec.get("tolerations")
    kept = [item for item in given if isinstance(item, dict)] if isinstance(given, list) else []
    same = [all((item.get(name) or "") == toleration.get(name, "") for name in _IDENTITY) for item in kept]
    replaced = [dict(toleration) if found else item for item, found in zip(kept, same, strict=True)]
    spec["tolerations"] = replaced if any(same) else [*replaced, toleration]


_IDENTITY = ("key", "effect", "operator", "value")


class LimitPodHardAntiAffinityTopology:
    """Pods keep away from others by the node alone: any wider demand would take whole zones from all others."""

    name = "LimitPodHardAntiAffinityTopology"
    phases = (VALIDATE,)
    handles_by_kind = True

    def handles(self, request: AdmissionRequest) -> bool:
        return is_for(request, PODS, Operation.CREATE, Operation.UPDATE)

    async def admit(self, request: AdmissionRequest) -> None:
        """Nothing to change."""

    async def validate(self, request: AdmissionRequest) -> None:
        affinity = ((request.object or {}).get("spec") or {}).get("affinity") or {}
        terms = (affinity.get("podAntiAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        for term in terms:
            key = term.get("topologyKey") or ""
            if key != _HOSTNAME:
                raise refuse(
                    request,
                    f"affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey {key} but only key "
                    f"{_HOSTNAME} is allowed",
                )
