"""The PodSecurity admission plugin. Same rules and texts as ``pod-security-admission/admission``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.components.apiserver.admission.pod_security.evaluate import evaluate
from minikube_py.components.apiserver.admission.pod_security.findings import Finding, Subject
from minikube_py.components.apiserver.admission.pod_security.policy import (
    LATEST,
    LEVELS,
    LevelVersion,
    Policy,
    policy_of,
)
from minikube_py.components.apiserver.admission.refusal import refuse, request_name
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.metrics.admission import VALIDATE, AdmissionMetrics
from minikube_py.components.apiserver.types import AdmissionRequest, Operation
from minikube_py.machinery.errors import invalid
from minikube_py.machinery.objects import Object, labels_of, metadata, name_of

_AUDIT = "pod-security.kubernetes.io/"
_TEMPLATES = frozenset(
    {
        ("", "podtemplates"),
        ("", "replicationcontrollers"),
        ("apps", "deployments"),
        ("apps", "replicasets"),
        ("apps", "statefulsets"),
        ("apps", "daemonsets"),
        ("batch", "jobs"),
        ("batch", "cronjobs"),
    }
)
most_pods_checked = 3000
_MOST_POLICIES = 1024
_COUNTED_AS, _OTHERS = {"pods": "pod", "namespaces": "namespace"}, "controller"
Evaluated = Callable[[AdmissionRequest, str, LevelVersion, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exemptions:
    """Requests that are never judged."""

    users: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    runtime_classes: tuple[str, ...] = ()


class PodSecurity:
    """Pods are refused by the enforced level; pods and their controllers get warnings and audit marks."""

    name = "PodSecurity"
    phases = (VALIDATE,)
    handles_by_kind = True

    def __init__(
        self,
        namespaces: Lookup,
        pods: Lookup,
        defaults: Policy | None = None,
        exemptions: Exemptions | None = None,
        metrics: AdmissionMetrics | None = None,
    ) -> None:
        self._metrics = metrics or AdmissionMetrics()
        self._namespaces = namespaces
        self._pods = pods
        self._defaults = defaults or Policy()
        self._exemptions = exemptions or Exemptions()
        self._policies: dict[str, tuple[Mapping[str, str], Policy]] = {}

    def handles(self, request: AdmissionRequest) -> bool:
        if request.operation not in (Operation.CREATE, Operation.UPDATE):
            return False
        resource = request.kind.resource
        key = (resource.group, resource.plural)
        if key == ("", "pods"):
            return request.subresource in ("", "ephemeralcontainers")
        return not request.subresource and (key == ("", "namespaces") or key in _TEMPLATES)

    async def admit(self, request: AdmissionRequest) -> None:
        """Nothing to fill in."""

    async def validate(self, request: AdmissionRequest) -> None:
        if request.object is None:
            return
        if request.kind.resource.plural == "namespaces":
            await self._namespace(request, request.object)
            return
        if request.user.name in self._exemptions.users or request.namespace in self._exemptions.namespaces:
            request.audit_annotations[f"{_AUDIT}exempt"] = (
                "user" if request.user.name in self._exemptions.users else "namespace"
            )
            self._exempted(request)
            return
        namespace = await self._namespaces.get(request.namespace)
        policy = self._policy(request.namespace, labels_of(namespace or {}))
        is_pod = request.kind.resource.plural == "pods"
        if policy.privileged:
            if is_pod:
                self._evaluated(request, "enforce", policy.enforce, "allow")
            return
        subject = _subject(request.kind.resource.kind, request.object)
        if subject is None:
            return
        if subject.spec.get("runtimeClassName") in self._exemptions.runtime_classes:
            self._exempted(request)
            return
        if is_pod and request.old is not None and not _is_significant(request.object, request.old):
            return
        _judge(request, policy, subject, self._evaluated, enforces=is_pod)

    def _policy(self, namespace: str, labels: Mapping[str, str]) -> Policy:
        """The policy that a namespace's labels choose; read anew when the namespace has changed."""
        known = self._policies.get(namespace)
        if known is None or known[0] is not labels:
            if len(self._policies) >= _MOST_POLICIES:
                self._policies.clear()
            known = self._policies[namespace] = (labels, policy_of(labels, self._defaults)[0])
        return known[1]

    def _exempted(self, request: AdmissionRequest) -> None:
        resource = request.kind.resource.plural
        self._metrics.exemptions.inc(
            (request.operation.lower(), _COUNTED_AS.get(resource, _OTHERS), request.subresource)
        )

    def _evaluated(self, request: AdmissionRequest, mode: str, level: LevelVersion, decision: str) -> None:
        """Count a verdict as ``pod-security-admission`` does: what was enforced, and refusals of the other modes."""
        version = "latest" if level.privileged or level.minor == LATEST else str(level).partition(":")[2]
        resource = _COUNTED_AS.get(request.kind.resource.plural, _OTHERS)
        operation = request.operation.lower()
        labels = (decision, level.level, version, mode, operation, resource, request.subresource, "")
        self._metrics.evaluations.inc(labels)

    async def _namespace(self, request: AdmissionRequest, namespace: Object) -> None:
        """Labels must make sense; a stricter level warns of pods that it would refuse."""
        policy, errors = policy_of(labels_of(namespace), self._defaults)
        before, old_errors = policy_of(labels_of(request.old or {}), self._defaults)
        if errors and (request.old is None or len(errors) > len(old_errors)):
            raise invalid("", "Namespace", request_name(request), errors)
        if request.old is None or errors or policy.enforce.privileged or policy.enforce == before.enforce:
            return
        weaker = LEVELS.index(policy.enforce.level) < LEVELS.index(before.enforce.level)
        same_version = policy.enforce.minor == before.enforce.minor
        if (weaker and same_version) or request.name in self._exemptions.namespaces:
            return
        pods = sorted(await self._pods.list(request.name), key=name_of)[:most_pods_checked]
        request.warnings.extend(_existing_warnings(request.name, policy.enforce, pods))


def _judge(
    request: AdmissionRequest, policy: Policy, subject: Subject, evaluated: Evaluated, *, enforces: bool
) -> None:
    """Raise Forbidden, or leave warnings and audit annotations."""
    known: dict[LevelVersion, Sequence[Finding]] = {}

    def findings(level: LevelVersion) -> str:
        if level not in known:
            known[level] = evaluate(level, subject)
        return ", ".join(str(finding) for finding in known[level])

    if enforces:
        request.audit_annotations[f"{_AUDIT}enforce-policy"] = str(policy.enforce)
    if audited := findings(policy.audit):
        text = f'would violate PodSecurity "{policy.audit}": {audited}'
        request.audit_annotations[f"{_AUDIT}audit-violations"] = text
        evaluated(request, "audit", policy.audit, "deny")
    if enforces:
        refused = findings(policy.enforce)
        evaluated(request, "enforce", policy.enforce, "deny" if refused else "allow")
    if enforces and refused:
        raise refuse(request, f'violates PodSecurity "{policy.enforce}": {refused}')
    if warned := findings(policy.warn):
        evaluated(request, "warn", policy.warn, "deny")
        request.warnings.append(f'would violate PodSecurity "{policy.warn}": {warned}')


def _subject(kind: str, obj: Object) -> Subject | None:
    """The pod itself, or the template of a controller."""
    holder: Mapping[str, Any] = obj
    if kind == "PodTemplate":
        holder = obj.get("template") or {}
    elif kind == "CronJob":
        job = (obj.get("spec") or {}).get("jobTemplate") or {}
        holder = (job.get("spec") or {}).get("template") or {}
    elif kind != "Pod":
        holder = (obj.get("spec") or {}).get("template") or {}
    spec = holder.get("spec")
    return Subject(metadata(holder), spec) if spec else None


def _is_significant(new: Object, old: Object) -> bool:
    """Whether an update of a pod can change the verdict: images, ephemeral containers, profile annotations."""
    return _judged_part(new) != _judged_part(old)


def _judged_part(pod: Object) -> tuple[Any, ...]:
    spec = pod.get("spec") or {}
    fields = ("initContainers", "containers", "ephemeralContainers")
    images = [[item.get("image") for item in spec.get(field) or ()] for field in fields]
    annotations = metadata(pod).get("annotations") or {}
    profiles = {key: value for key, value in annotations.items() if "apparmor" in key or "seccomp" in key}
    return images, profiles


def _existing_warnings(namespace: str, level: LevelVersion, pods: Sequence[Object]) -> Iterator[str]:
    """One line for each set of violations, naming the first pod that has it."""
    groups: dict[str, list[str]] = {}
    for pod in pods:
        subject = _subject("Pod", pod)
        if subject is None:
            continue
        reasons = ", ".join(finding.reason for finding in evaluate(level, subject))
        if reasons:
            groups.setdefault(reasons, []).append(name_of(pod))
    if not groups:
        return
    yield f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{level}"'
    lines = []
    for reasons, names in groups.items():
        others = len(names) - 1
        more = f" (and {others} other {'pod' if others == 1 else 'pods'})" if others else ""
        lines.append(f"{names[0]}{more}: {reasons}")
    yield from sorted(lines)
