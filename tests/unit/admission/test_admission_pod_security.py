"""The Pod Security Standards: each check with its text, versions, labels, warnings."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.client.testing.fake_client import FakeClient
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.components.apiserver.admission.pod_security import Exemptions, PodSecurity
from minikube_py.components.apiserver.admission.pod_security import plugin as plugin_module
from minikube_py.components.apiserver.admission.pod_security.evaluate import evaluate
from minikube_py.components.apiserver.admission.pod_security.findings import Subject
from minikube_py.components.apiserver.admission.pod_security.policy import LATEST, LevelVersion, Policy, policy_of
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.types import AdmissionRequest, Operation, UserInfo
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.resources import DEPLOYMENTS, NAMESPACES, PODS

GOOD_CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
GOOD_POD = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def findings(level: str, spec: dict[str, Any], minor: int = LATEST, annotations: dict | None = None) -> list[str]:
    subject = Subject({"annotations": annotations or {}}, {"containers": [{"name": "c"}], **spec})
    return [str(finding) for finding in evaluate(LevelVersion(level, minor), subject)]


def container(**context: Any) -> dict[str, Any]:
    return {"containers": [{"name": "c", "securityContext": context}]}


def probed(name: str, host: str) -> dict[str, Any]:
    return {"name": name, "livenessProbe": {"tcpSocket": {"host": host, "port": 1}}}


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"hostNetwork": True, "hostPID": True}, "host namespaces (hostNetwork=true, hostPID=true)"),
        (container(privileged=True), 'privileged (container "c" must not set securityContext.privileged=true)'),
        (
            container(capabilities={"add": ["NET_ADMIN", "CHOWN"]}),
            'non-default capabilities (container "c" must not include "NET_ADMIN" in securityContext.capabilities.add)',
        ),
        ({"volumes": [{"name": "h", "hostPath": {"path": "/"}}]}, 'hostPath volumes (volume "h")'),
        (
            {"containers": [{"name": "c", "ports": [{"hostPort": 80}, {"hostPort": 81}]}]},
            'hostPort (container "c" uses hostPorts 80, 81)',
        ),
        (
            {"containers": [{"name": "c", "livenessProbe": {"httpGet": {"host": "h", "port": 1}}}]},
            'probe or lifecycle host (container "c" uses probe or lifecycle host "h")',
        ),
        (
            container(procMount="Unmasked"),
            'procMount (container "c" must not set securityContext.procMount to "Unmasked")',
        ),
        (
            {"securityContext": {"seLinuxOptions": {"type": "bad", "user": "u"}}},
            'seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "bad"; user may not be set)',
        ),
        (
            container(seccompProfile={"type": "Unconfined"}),
            'seccompProfile (container "c" must not set securityContext.seccompProfile.type to "Unconfined")',
        ),
        ({"securityContext": {"sysctls": [{"name": "kernel.msgmax"}]}}, "forbidden sysctls (kernel.msgmax)"),
        (
            {
                **container(appArmorProfile={"type": "Unconfined"}),
                "securityContext": {"appArmorProfile": {"type": "No"}},
            },
            'forbidden AppArmor profiles (pod and container "c" must not set AppArmor profile type to '
            '"No", "Unconfined")',
        ),
        (
            {"containers": [probed("b", host="two"), probed("a", host="one")]},
            'probe or lifecycle host (containers "a", "b" use probe or lifecycle hosts "one", "two")',
        ),
        (
            container(windowsOptions={"hostProcess": True}),
            'hostProcess (container "c" must not set securityContext.windowsOptions.hostProcess=true)',
        ),
    ],
)
def test_baseline(spec: dict[str, Any], text: str) -> None:
    assert findings("baseline", spec) == [text]
    assert findings("privileged", spec) == []


@pytest.mark.parametrize(
    ("annotations", "minor", "texts"),
    [
        ({"container.apparmor.security.beta.kubernetes.io/c": "localhost/x"}, LATEST, []),
        (
            {"container.apparmor.security.beta.kubernetes.io/c": "unconfined"},
            LATEST,
            [
                "forbidden AppArmor profile (annotation must not set AppArmor profile type to "
                '"container.apparmor.security.beta.kubernetes.io/c="unconfined"")'
            ],
        ),
        ({"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}, 19, []),
        (
            {
                "seccomp.security.alpha.kubernetes.io/pod": "unconfined",
                "container.seccomp.security.alpha.kubernetes.io/c": "",
                "container.seccomp.security.alpha.kubernetes.io/other": "unconfined",
            },
            18,
            [
                'seccompProfile (forbidden annotations container.seccomp.security.alpha.kubernetes.io/c="", '
                'seccomp.security.alpha.kubernetes.io/pod="unconfined")'
            ],
        ),
    ],
)
def test_annotations(annotations: dict[str, str], minor: int, texts: list[str]) -> None:
    assert findings("baseline", {}, minor, annotations) == texts


def restricted(pod: dict | None = None, context: dict | None = None, **spec: Any) -> dict[str, Any]:
    """A pod that is fine, with changes."""
    return {
        "securityContext": {**GOOD_POD, **(pod or {})},
        "containers": [{"name": "c", "securityContext": {**GOOD_CONTAINER, **(context or {})}}],
        **spec,
    }


@pytest.mark.parametrize(
    ("spec", "texts"),
    [
        (restricted(), []),
        (
            restricted(context={"allowPrivilegeEscalation": True}),
            [
                'allowPrivilegeEscalation != false (container "c" must set '
                "securityContext.allowPrivilegeEscalation=false)"
            ],
        ),
        (
            restricted(context={"capabilities": {"drop": ["ALL"], "add": ["SYS_TIME"]}}),
            [
                'unrestricted capabilities (container "c" must not include "SYS_TIME" in '
                "securityContext.capabilities.add)"
            ],
        ),
        (restricted(context={"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}), []),
        (
            restricted(volumes=[{"name": "a", "nfs": {}}, {"name": "b", "hostPath": {}}, {"name": "c", "secret": {}}]),
            ['restricted volume types (volumes "a", "b" use restricted volume types "hostPath", "nfs")'],
        ),
        (
            restricted(pod={"runAsNonRoot": False}),
            ["runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)"],
        ),
        (
            restricted(pod={"runAsNonRoot": False}, context={"runAsNonRoot": True}),
            ["runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)"],
        ),
        (restricted(pod={"runAsNonRoot": False, "runAsUser": 0}, hostUsers=False), []),
        (
            restricted(context={"procMount": "Unmasked"}, hostUsers=False),
            ['procMount (container "c" must not set securityContext.procMount to "Unmasked")'],
        ),
        (
            restricted(pod={"runAsNonRoot": None}),
            ['runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true)'],
        ),
        (restricted(pod={"runAsUser": 0}), ["runAsUser=0 (pod must not set runAsUser=0)"]),
        (
            restricted(pod={"seccompProfile": {"type": "Unconfined"}}),
            ['seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")'],
        ),
    ],
)
def test_restricted(spec: dict[str, Any], texts: list[str]) -> None:
    assert findings("restricted", spec) == texts


@pytest.mark.parametrize(
    ("level", "spec", "minor", "found"),
    [
        ("baseline", {"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}}, 31, True),
        ("baseline", {"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}}, 32, False),
        ("baseline", {"securityContext": {"seLinuxOptions": {"type": "container_engine_t"}}}, 30, True),
        ("baseline", {"securityContext": {"seLinuxOptions": {"type": "container_engine_t"}}}, 31, False),
        ("restricted", restricted(context={"capabilities": {}}), 21, False),
        ("restricted", restricted(context={"capabilities": {}}), 22, True),
        ("restricted", {**restricted(context={"capabilities": {}}), "os": {"name": "windows"}}, 25, False),
        ("restricted", restricted(pod={"runAsUser": 0}), 22, False),
        ("restricted", restricted(pod={"runAsUser": 0}, hostUsers=False), 34, True),
        ("restricted", restricted(pod={"runAsUser": 0}, hostUsers=False), 35, False),
        ("baseline", {**container(procMount="Unmasked"), "hostUsers": False}, 34, True),
        ("baseline", {**container(procMount="Unmasked"), "hostUsers": False}, 35, False),
        ("baseline", container(seccompProfile={"type": "Unconfined"}), 18, False),
        ("baseline", {"containers": [probed("c", host="h")]}, 33, False),
    ],
)
def test_versions(level: str, spec: dict[str, Any], minor: int, found: bool) -> None:
    assert bool(findings(level, spec, minor)) == found


@pytest.mark.parametrize(
    ("labels", "enforce", "warn", "errors"),
    [
        ({}, "privileged:latest", "privileged:latest", 0),
        ({"enforce": "baseline"}, "baseline:latest", "baseline:latest", 0),
        ({"enforce": "baseline", "warn": "restricted"}, "baseline:latest", "restricted:latest", 0),
        ({"enforce": "baseline", "enforce-version": "v1.24"}, "baseline:v1.24", "baseline:v1.24", 0),
        ({"enforce": "baseline", "warn-version": "v1.20"}, "baseline:latest", "baseline:v1.20", 0),
        ({"enforce": "strict"}, "restricted:latest", "privileged:latest", 1),
        ({"warn": "baseline", "warn-version": "1.24"}, "privileged:latest", "baseline:latest", 1),
    ],
)
def test_labels(labels: dict[str, str], enforce: str, warn: str, errors: int) -> None:
    full = {f"pod-security.kubernetes.io/{key}": value for key, value in labels.items()}
    policy, found = policy_of(full, Policy())
    assert (str(policy.enforce), str(policy.warn), len(found)) == (enforce, warn, errors)


def world(labels: dict[str, str], exemptions: Exemptions | None = None) -> tuple[FakeClient, PodSecurity]:
    client = FakeClient(FakeClock())
    full = {f"pod-security.kubernetes.io/{key}": value for key, value in labels.items()}
    client.seed(NAMESPACES, {"metadata": {"name": "ns", "labels": full}})
    return client, PodSecurity(Lookup(client, NAMESPACES), Lookup(client, PODS), exemptions=exemptions)


def creating(resource, draft: dict[str, Any], old: dict[str, Any] | None = None) -> AdmissionRequest:
    operation = Operation.UPDATE if old else Operation.CREATE
    namespace = "ns" if resource.namespaced else ""
    name = draft["metadata"]["name"]
    user = UserInfo("joe")
    return AdmissionRequest(operation, Kind(resource, "x", "x"), "", namespace, name, user, draft, old, {})


# Objects of in-process clients need not name their kind: the request does.
POD = {"metadata": {"name": "p", "namespace": "ns"}, "spec": {"containers": [{"name": "c"}]}}
PRIVILEGED = {**POD, "spec": {"containers": [{"name": "c", "securityContext": {"privileged": True}}]}}


async def test_enforced_level_refuses_pods_and_warns_of_controllers() -> None:
    _, plugin = world({"enforce": "baseline"})
    with pytest.raises(ApiError) as caught:
        await plugin.validate(creating(PODS, PRIVILEGED))
    assert caught.value.message == (
        'pods "p" is forbidden: violates PodSecurity "baseline:latest": privileged (container "c" must not set '
        "securityContext.privileged=true)"
    )
    deployment = {"metadata": {"name": "d"}, "spec": {"template": PRIVILEGED}}
    request = creating(DEPLOYMENTS, deployment)
    await plugin.validate(request)
    assert request.warnings[0].startswith('would violate PodSecurity "baseline:latest": privileged (')


async def test_warn_and_audit_let_pods_in() -> None:
    _, plugin = world({"warn": "restricted", "audit": "restricted"})
    request = creating(PODS, POD)
    await plugin.validate(request)
    assert request.warnings and request.warnings[0].startswith('would violate PodSecurity "restricted:latest"')
    assert "pod-security.kubernetes.io/audit-violations" in request.audit_annotations


async def test_exempt_user_is_not_judged() -> None:
    _, plugin = world({"enforce": "restricted"}, Exemptions(users=("joe",)))
    await plugin.validate(creating(PODS, PRIVILEGED))


async def test_stricter_namespace_warns_of_its_pods() -> None:
    client, plugin = world({})
    for name in ("l1", "mp", "mr"):
        client.seed(PODS, {**POD, "metadata": {"name": name, "namespace": "ns"}})
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    request = creating(NAMESPACES, {"metadata": {"name": "ns", "labels": labels}}, await client.get(NAMESPACES, "ns"))
    await plugin.validate(request)
    assert request.warnings == [
        'existing pods in namespace "ns" violate the new PodSecurity enforce level "restricted:latest"',
        "l1 (and 2 other pods): allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, "
        "seccompProfile",
    ]


async def test_wrong_labels_are_invalid() -> None:
    _, plugin = world({})
    draft = {"metadata": {"name": "x", "labels": {"pod-security.kubernetes.io/enforce": "strict"}}}
    with pytest.raises(ApiError) as caught:
        await plugin.validate(creating(NAMESPACES, draft))
    assert caught.value.code == 422
    assert "must be one of privileged, baseline, restricted" in caught.value.message


def namespace(**labels: str) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "ns",
            "labels": {f"pod-security.kubernetes.io/{key}": value for key, value in labels.items()},
        }
    }


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (namespace(), namespace(enforce="strict"), 422),
        (namespace(enforce="strict"), namespace(enforce="strict", warn="baseline"), 0),
        (namespace(enforce="strict"), namespace(enforce="stricter"), 422),
        (namespace(enforce="strict", warn="no"), namespace(enforce="strict"), 422),
        (namespace(enforce="strict"), namespace(), 0),
    ],
)
async def test_wrong_labels_may_stay_as_they_were(old: dict[str, Any], new: dict[str, Any], code: int) -> None:
    _, plugin = world({})
    try:
        await plugin.validate(creating(NAMESPACES, new, old))
        refused = 0
    except ApiError as error:
        refused = error.code
    assert refused == code


async def test_labels_of_exempt_namespaces_are_said_to_do_nothing() -> None:
    _, plugin = world({}, Exemptions(namespaces=("ns",)))
    request = creating(NAMESPACES, namespace(enforce="baseline", audit="privileged", **{"warn-version": "v1.2"}))
    await plugin.validate(request)
    assert request.warnings == [
        'namespace "ns" is exempt from Pod Security, and the policy (enforce=baseline:latest, warn=baseline:v1.2) '
        "will be ignored"
    ]


async def test_pods_of_one_controller_come_last_and_no_more_than_the_limit_is_looked_at(monkeypatch) -> None:
    monkeypatch.setattr(plugin_module, "most_pods_checked", 2)
    client, plugin = world({})
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": True}
    for name in ("a", "b"):
        client.seed(PODS, {**POD, "metadata": {"name": name, "namespace": "ns", "ownerReferences": [owner]}})
    client.seed(PODS, {**PRIVILEGED, "metadata": {"name": "c", "namespace": "ns"}})
    request = creating(NAMESPACES, namespace(enforce="baseline"), namespace())
    await plugin.validate(request)
    assert request.warnings == [
        "new PodSecurity enforce level only checked against the first 2 of 3 existing pods",
        'existing pods in namespace "ns" violate the new PodSecurity enforce level "baseline:latest"',
        "c: privileged",
    ]


async def test_labels_that_cannot_be_read_are_noted_in_the_audit_log() -> None:
    _, plugin = world({"warn": "no"})
    request = creating(PODS, POD)
    await plugin.validate(request)
    assert request.audit_annotations["pod-security.kubernetes.io/error"] == (
        'Failed to parse policy: metadata.labels[pod-security.kubernetes.io/warn]: Invalid value: "no": '
        "must be one of privileged, baseline, restricted"
    )
