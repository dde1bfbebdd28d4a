"""The PodSecurity admission plugin. Same rules and texts as ``pod-security-admission/admission``."""

from __future__ import annotations

import asyncio
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
from minikube_py.machinery.errors import FieldError, aggregate_text, invalid
from minikube_py.machinery.objects import Object, labels_of, metadata, name_of
from minikube_py.machinery.owners import controller_of

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
_SECCOMP = "container.seccomp.security.alpha.kubernetes.io/"
most_pods_checked = 3000
most_seconds_checking = 1.0
_PODS_BETWEEN_PAUSES = 50
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
        self._policies: dict[str, tuple[Mapping[str, str], tuple[Policy, list[FieldError]]]] = {}

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
        if exempt := self._exempt(request):
            request.audit_annotations[f"{_AUDIT}exempt"] = exempt
            self._exempted(request)
            return
        namespace = await self._namespaces.get(request.namespace)
        policy, errors = self._policy(request.namespace, labels_of(namespace or {}))
        is_pod = request.kind.resource.plural == "pods"
        if policy.privileged and not errors:
            if is_pod:
                self._evaluated(request, "enforce", policy.enforce, "allow")
            return
        subject = _subject(request.kind.resource.kind, request.object)
        if subject is None:
            return
        if is_pod and request.old is not None and not _is_significant(request.object, request.old):
            return
        if subject.spec.get("runtimeClassName") in self._exemptions.runtime_classes:
            request.audit_annotations[f"{_AUDIT}exempt"] = "runtimeClass"
            self._exempted(request)
            return
        if errors:
            request.audit_annotations[f"{_AUDIT}error"] = f"Failed to parse policy: {aggregate_text(errors)}"
        _judge(request, policy, subject, self._evaluated, enforces=is_pod)

    def _exempt(self, request: AdmissionRequest) -> str:
        """Why the request is not judged at all; empty when it is."""
        if request.namespace in self._exemptions.namespaces:
            return "namespace"
        return "user" if request.user.name in self._exemptions.users else ""

    def _policy(self, namespace: str, labels: Mapping[str, str]) -> tuple[Policy, list[FieldError]]:
        """The policy that a namespace's labels choose, and what is wrong with them; read anew when they changed."""
        known = self._policies.get(namespace)
        if known is None or known[0] is not labels:
            if len(self._policies) >= _MOST_POLICIES:
                self._policies.clear()
            known = self._policies[namespace] = (labels, policy_of(labels, self._defaults))
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
        labels = labels_of(namespace)
        policy, errors = policy_of(labels, self._defaults)
        before, old_errors = policy_of(labels_of(request.old or {}), self._defaults)
        name = request_name(request)
        if errors and (request.old is None or errors != old_errors):
            raise invalid("", "Namespace", name, errors)
        if request.old is not None and not _tightens(policy.enforce, before.enforce):
            return
        if name in self._exemptions.namespaces:
            if not policy.privileged and policy != self._defaults:
                request.warnings.append(_exempt_warning(name, policy, labels))
        elif request.old is not None:
            request.warnings.extend(await self._existing_warnings(name, policy.enforce))

    async def _existing_warnings(self, namespace: str, level: LevelVersion) -> list[str]:
        """What pods of a namespace would be refused for: a line for each set of violations, with a pod that has it.

        At most ``most_pods_checked`` pods are looked at, and no longer than ``most_seconds_checking``.
        """
        exempt = self._exemptions.runtime_classes
        known = [pod for pod in await self._pods.list(namespace) if _spec(pod).get("runtimeClassName") not in exempt]
        pods = _one_of_each_controller_first(sorted(known, key=name_of))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + most_seconds_checking
        groups: dict[str, list[str]] = {}
        checked = 0
        for pod in pods[:most_pods_checked]:
            subject = _subject("Pod", pod)
            if subject is not None and (found := evaluate(level, subject)):
                groups.setdefault(", ".join(finding.reason for finding in found), []).append(name_of(pod))
            checked += 1
            if checked % _PODS_BETWEEN_PAUSES == 0:
                await asyncio.sleep(0)
            if loop.time() >= deadline:
                break
        return list(_warning_lines(namespace, level, groups, checked, len(pods)))


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


def _spec(pod: Object) -> Mapping[str, Any]:
    return pod.get("spec") or {}


def _is_significant(new: Object, old: Object) -> bool:
    """Whether an update of a pod can change the verdict: images, ephemeral containers, seccomp annotations."""
    return _judged_part(new) != _judged_part(old)


def _judged_part(pod: Object) -> list[list[tuple[Any, ...]]]:
    annotations = metadata(pod).get("annotations") or {}
    fields = ("initContainers", "containers", "ephemeralContainers")
    return [
        [(item.get("image"), annotations.get(f"{_SECCOMP}{item.get('name')}")) for item in _spec(pod).get(field) or ()]
        for field in fields
    ]


def _tightens(new: LevelVersion, old: LevelVersion) -> bool:
    """Whether pods that were fine under the old level may not be under the new one."""
    if new == old or new.privileged:
        return False
    return new.minor != old.minor or LEVELS.index(new.level) > LEVELS.index(old.level)


def _exempt_warning(name: str, policy: Policy, labels: Mapping[str, str]) -> str:
    """That labels of an exempt namespace do nothing; only levels that they set are shown."""
    shown = [
        f"{mode}={level}"
        for mode, level in (("enforce", policy.enforce), ("audit", policy.audit), ("warn", policy.warn))
        if not level.privileged and {f"{_AUDIT}{mode}", f"{_AUDIT}{mode}-version"} & labels.keys()
    ]
    return f'namespace "{name}" is exempt from Pod Security, and the policy ({", ".join(shown)}) will be ignored'


def _one_of_each_controller_first(pods: Sequence[Object]) -> list[Object]:
    """Further pods of a controller are most likely like its first one, so they come last."""
    first: list[Object] = []
    alike: list[Object] = []
    seen: set[str] = set()
    for pod in pods:
        owner = controller_of(pod)
        uid = str((owner or {}).get("uid") or "")
        (alike if owner and uid in seen else first).append(pod)
        seen.add(uid)
    return first + alike


def _warning_lines(
    namespace: str, level: LevelVersion, groups: Mapping[str, Sequence[str]], checked: int, total: int
) -> Iterator[str]:
    if checked < total:
        yield f"new PodSecurity enforce level only checked against the first {checked} of {total} existing pods"
    if groups:
        yield f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{level}"'
    lines = []
    for reasons, names in groups.items():
        others = len(names) - 1
        more = f" (and {others} other {'pod' if others == 1 else 'pods'})" if others else ""
        lines.append(f"{min(names)}{more}: {reasons}")
    yield from sorted(lines)
