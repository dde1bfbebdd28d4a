"""Admission plugins: what they fill in and what they refuse, with Kubernetes' texts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from minikube_py.client.testing.fake_client import FakeClient
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.components.apiserver.admission.chain import ORDER, PluginChain, build_chain
from minikube_py.components.apiserver.security import SecuritySettings, build_security
from minikube_py.components.apiserver.types import AdmissionRequest, Operation, UserInfo
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import thaw
from minikube_py.machinery.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    INGRESS_CLASSES,
    INGRESSES,
    LIMIT_RANGES,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    PRIORITY_CLASSES,
    RESOURCE_QUOTAS,
    RUNTIME_CLASSES,
    SERVICE_ACCOUNTS,
    SERVICES,
    STORAGE_CLASSES,
    Resource,
)
from minikube_py.pki import ensure_pki

ADMIN = UserInfo("admin", ("system:masters",))
NODE = UserInfo("system:node:n1", ("system:nodes",))


class World:
    """A namespace ``ns`` with its default service account, and the default chain."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock()
        self.client = FakeClient(self.clock)
        pki = ensure_pki(directory, node_name="n", node_ips=[], service_ip="10.43.0.1", clock=self.clock)
        self.chain: PluginChain = build_security(self.client, pki, SecuritySettings(), self.clock).admission
        self.client.seed(NAMESPACES, {"metadata": {"name": "ns"}})
        self.client.seed(SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": "ns"}})

    async def run(
        self,
        resource: Resource,
        draft: dict[str, Any] | None,
        *,
        operation: Operation = Operation.CREATE,
        old: dict[str, Any] | None = None,
        user: UserInfo = ADMIN,
        subresource: str = "",
        dry_run: bool = False,
        name: str = "",
    ) -> AdmissionRequest:
        meta = (draft or old or {}).get("metadata", {})
        namespace = "ns" if resource.namespaced else ""
        kind = Kind(resource, "x", "x")
        request = AdmissionRequest(
            operation, kind, subresource, meta.get("namespace", namespace), name or meta.get("name", ""), user,
            thaw(draft), old, {}, dry_run,
        )  # fmt: skip
        await self.chain.admit(request)
        await self.chain.validate(request)
        return request

    async def refused(self, resource: Resource, draft: dict[str, Any] | None, **options: Any) -> ApiError:
        with pytest.raises(ApiError) as caught:
            await self.run(resource, draft, **options)
        return caught.value


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def pod(name: str = "p", *, containers: list[dict] | None = None, **spec: Any) -> dict[str, Any]:
    listed = containers or [{"name": "c", "image": "i"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "ns"},
        "spec": {"containers": listed, **spec},
    }


def sized(**resources: Any) -> dict[str, Any]:
    return {"name": "c", "image": "i", "resources": resources}


def config_map(name: str = "cm") -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"name": name, "namespace": "ns"}}


async def test_missing_namespace_is_not_found(world: World) -> None:
    error = await world.refused(CONFIG_MAPS, {"metadata": {"name": "x", "namespace": "gone"}})
    assert (error.code, error.message) == (404, 'namespaces "gone" not found')


async def test_nothing_new_in_a_namespace_that_ends(world: World) -> None:
    world.client.seed(NAMESPACES, {"metadata": {"name": "end"}, "status": {"phase": "Terminating"}})
    draft = {"metadata": {"name": "y", "namespace": "end"}}
    error = await world.refused(CONFIG_MAPS, draft)
    assert error.message == (
        'configmaps "y" is forbidden: unable to create new content in namespace end because it is being terminated'
    )
    assert error.details is not None and error.details["causes"][0]["reason"] == "NamespaceTerminating"
    await world.run(CONFIG_MAPS, draft, operation=Operation.UPDATE, old=draft)
    await world.run(CONFIG_MAPS, None, operation=Operation.DELETE, old=draft)


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_system_namespaces_are_immortal(world: World, name: str) -> None:
    error = await world.refused(NAMESPACES, None, operation=Operation.DELETE, name=name)
    assert error.message == f'namespaces "{name}" is forbidden: this namespace may not be deleted'


async def test_pod_gets_its_token_tolerations_and_priority(world: World) -> None:
    spec = (await world.run(PODS, pod())).object["spec"]
    volume = spec["volumes"][0]
    assert spec["serviceAccountName"] == "default"
    assert volume["name"].startswith("kube-api-access-")
    assert [next(iter(source)) for source in volume["projected"]["sources"]] == [
        "serviceAccountToken",
        "configMap",
        "downwardAPI",
    ]
    mount = {
        "name": volume["name"],
        "readOnly": True,
        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
    }
    assert spec["containers"][0]["volumeMounts"] == [mount]
    assert [item["key"].rpartition("/")[2] for item in spec["tolerations"]] == ["not-ready", "unreachable"]
    assert (spec["priority"], spec["preemptionPolicy"]) == (0, "PreemptLowerPriority")


@pytest.mark.parametrize(
    ("account", "spec", "mounted"),
    [
        ({"automountServiceAccountToken": False}, {}, False),
        ({"automountServiceAccountToken": False}, {"automountServiceAccountToken": True}, True),
        ({}, {"automountServiceAccountToken": False}, False),
    ],
)
async def test_automount(world: World, account: dict, spec: dict, mounted: bool) -> None:
    world.client.seed(SERVICE_ACCOUNTS, {"metadata": {"name": "bot", "namespace": "ns"}, **account})
    request = await world.run(PODS, pod(serviceAccountName="bot", **spec))
    assert bool(request.object["spec"].get("volumes")) == mounted


async def test_missing_service_account(world: World) -> None:
    error = await world.refused(PODS, pod(serviceAccountName="ghost"))
    assert error.message == (
        'pods "p" is forbidden: error looking up service account ns/ghost: serviceaccount "ghost" not found'
    )


async def test_default_account_is_waited_for(world: World) -> None:
    await world.client.delete(SERVICE_ACCOUNTS, "default", "ns")
    waiting = asyncio.ensure_future(world.run(PODS, pod()))
    await world.clock.settle()
    world.client.seed(SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": "ns"}})
    await world.clock.advance(1)
    assert (await waiting).object["spec"]["serviceAccountName"] == "default"


BECAUSE = "is not allowed because service account picky does not reference that secret"
FROM_SECRET = {"name": "E", "valueFrom": {"secretKeyRef": {"name": "no", "key": "k"}}}


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"volumes": [{"name": "v", "secret": {"secretName": "yes"}}]}, ""),
        (
            {"volumes": [{"name": "v", "secret": {"secretName": "no"}}]},
            f'volume with secret.secretName="no" {BECAUSE}',
        ),
        ({"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "no"}}]}}]}, ""),
        (
            {"initContainers": [{"name": "i", "image": "i", "env": [FROM_SECRET]}]},
            f'init container i with envVar E referencing secret.secretName="no" {BECAUSE}',
        ),
        (
            {"containers": [{"name": "c", "image": "i", "envFrom": [{"secretRef": {"name": "no"}}]}]},
            f'container c with envFrom referencing secret.secretName="no" {BECAUSE}',
        ),
        (
            {"imagePullSecrets": [{"name": "pull"}, {"name": "no"}]},
            'imagePullSecrets[1].name="no" is not allowed because service account picky does not reference that '
            "imagePullSecret",
        ),
    ],
)
async def test_secrets_that_the_account_lists(world: World, spec: dict, why: str) -> None:
    restrict(world)
    draft = pod(serviceAccountName="picky", **spec)
    if not why:
        await world.run(PODS, draft)
        return
    assert (await world.refused(PODS, draft)).message == f'pods "p" is forbidden: {why}'


async def test_ephemeral_containers_use_what_the_account_lists(world: World) -> None:
    restrict(world)
    old = pod(serviceAccountName="picky")
    new = pod(serviceAccountName="picky", ephemeralContainers=[{"name": "e", "image": "i", "env": [FROM_SECRET]}])
    options = {"operation": Operation.UPDATE, "old": old, "subresource": "ephemeralcontainers"}
    why = f'ephemeral container e with envVar E referencing secret.secretName="no" {BECAUSE}'
    assert (await world.refused(PODS, new, **options)).message == f'pods "p" is forbidden: {why}'


def restrict(world: World) -> None:
    """An account that allows the Secrets that it lists, and no others."""
    meta = {"name": "picky", "namespace": "ns", "annotations": {"kubernetes.io/enforce-mountable-secrets": "True"}}
    lists = {"secrets": [{"name": "yes"}], "imagePullSecrets": [{"name": "pull"}]}
    world.client.seed(SERVICE_ACCOUNTS, {"metadata": meta, **lists})


async def test_pull_secrets_of_the_account(world: World) -> None:
    account = {"metadata": {"name": "bot", "namespace": "ns"}, "imagePullSecrets": [{"name": "pull"}]}
    world.client.seed(SERVICE_ACCOUNTS, account)
    request = await world.run(PODS, pod(serviceAccountName="bot"))
    assert request.object["spec"]["imagePullSecrets"] == [{"name": "pull"}]


LIMITS = {
    "metadata": {"name": "l", "namespace": "ns"},
    "spec": {
        "limits": [
            {
                "type": "Container",
                "default": {"cpu": "500m", "memory": "256Mi"},
                "defaultRequest": {"cpu": "100m", "memory": "256Mi"},
                "max": {"cpu": "2", "memory": "1Gi"},
                "min": {"cpu": "50m"},
            },
            {"type": "Pod", "max": {"cpu": "3"}},
            {"type": "PersistentVolumeClaim", "max": {"storage": "10Gi"}, "min": {"storage": "1Gi"}},
        ]
    },
}


async def test_limit_range_defaults(world: World) -> None:
    world.client.seed(LIMIT_RANGES, LIMITS)
    draft = (await world.run(PODS, pod())).object
    assert draft["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "100m", "memory": "256Mi"},
        "limits": {"cpu": "500m", "memory": "256Mi"},
    }
    assert draft["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu, memory request for container c; cpu, memory limit for container c"
    )


@pytest.mark.parametrize(
    ("containers", "why"),
    [
        (
            [sized(limits={"cpu": "4"})],
            "[maximum cpu usage per Container is 2, but limit is 4, maximum cpu usage per Pod is 3, but limit is 4]",
        ),
        ([sized(requests={"cpu": "10m"})], "minimum cpu usage per Container is 50m, but request is 10m"),
        (
            [sized(limits={"cpu": "2", "memory": "1Mi"}), {**sized(limits={"cpu": "2", "memory": "1Mi"}), "name": "d"}],
            "maximum cpu usage per Pod is 3, but limit is 4",
        ),
    ],
    ids=["too much", "too little", "too much together"],
)
async def test_limit_range_bounds(world: World, containers: list[dict], why: str) -> None:
    world.client.seed(LIMIT_RANGES, LIMITS)
    error = await world.refused(PODS, pod(containers=containers))
    assert error.message == f'pods "p" is forbidden: {why}'


def claim(size: str = "1Gi", **spec: Any) -> dict[str, Any]:
    resources = {"requests": {"storage": size}}
    return {"metadata": {"name": "big", "namespace": "ns"}, "spec": {"resources": resources, **spec}}


async def test_limit_range_of_claims(world: World) -> None:
    world.client.seed(LIMIT_RANGES, LIMITS)
    error = await world.refused(PERSISTENT_VOLUME_CLAIMS, claim("20Gi"))
    assert error.message == (
        'persistentvolumeclaims "big" is forbidden: maximum storage usage per PersistentVolumeClaim is 10Gi, but '
        "request is 20Gi"
    )


def quota(hard: dict[str, str], used: dict[str, str], **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "q", "namespace": "ns"},
        "spec": {"hard": hard, **spec},
        "status": {"hard": hard, "used": used},
    }


async def test_quota_counts_and_refuses(world: World) -> None:
    world.client.seed(RESOURCE_QUOTAS, quota({"configmaps": "4"}, {"configmaps": "3"}))
    await world.run(CONFIG_MAPS, config_map("dry"), dry_run=True)
    await world.run(CONFIG_MAPS, config_map("fits"))
    error = await world.refused(CONFIG_MAPS, config_map("over"))
    assert error.message == (
        'configmaps "over" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=4, limited: '
        "configmaps=4"
    )
    assert world.client.one(RESOURCE_QUOTAS, "q", "ns")["status"]["used"] == {"configmaps": "4"}


async def test_quota_is_never_exceeded_by_fifty_creators_at_once(world: World) -> None:
    world.client.seed(RESOURCE_QUOTAS, quota({"count/configmaps": "20"}, {"count/configmaps": "0"}))
    tries = [world.run(CONFIG_MAPS, config_map(f"c{index}")) for index in range(50)]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(1 for outcome in outcomes if isinstance(outcome, AdmissionRequest)) == 20
    assert all(isinstance(outcome, AdmissionRequest | ApiError) for outcome in outcomes)
    assert world.client.one(RESOURCE_QUOTAS, "q", "ns")["status"]["used"] == {"count/configmaps": "20"}


CPU = quota({"requests.cpu": "1"}, {"requests.cpu": "600m"})


@pytest.mark.parametrize(
    ("containers", "why"),
    [
        ([{"name": "c", "image": "i"}], "failed quota: q: must specify requests.cpu for: c"),
        (
            [sized(requests={"cpu": "600m"})],
            "exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1",
        ),
    ],
)
async def test_quota_of_pods(world: World, containers: list[dict], why: str) -> None:
    world.client.seed(RESOURCE_QUOTAS, CPU)
    error = await world.refused(PODS, pod(containers=containers))
    assert error.message == f'pods "p" is forbidden: {why}'


async def test_quota_of_node_ports_and_groups(world: World) -> None:
    hard = {"services.nodeports": "0", "count/deployments.apps": "1"}
    world.client.seed(RESOURCE_QUOTAS, quota(hard, {"services.nodeports": "0", "count/deployments.apps": "1"}))
    service = {"metadata": {"name": "np", "namespace": "ns"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}
    error = await world.refused(SERVICES, service)
    assert "requested: services.nodeports=1, used: services.nodeports=0" in error.message
    deployment = {"metadata": {"name": "d", "namespace": "ns"}, "spec": {}}
    assert "requested: count/deployments.apps=1" in (await world.refused(DEPLOYMENTS, deployment)).message


@pytest.mark.parametrize(
    ("scopes", "resources", "counted"),
    [
        (["BestEffort"], {}, True),
        (["BestEffort"], {"requests": {"cpu": "1"}}, False),
        (["NotBestEffort"], {"requests": {"cpu": "1"}}, True),
        (["Terminating"], {}, False),
        (["NotTerminating"], {}, True),
    ],
)
async def test_quota_scopes(world: World, scopes: list[str], resources: dict, counted: bool) -> None:
    world.client.seed(RESOURCE_QUOTAS, quota({"pods": "5"}, {"pods": "0"}, scopes=scopes))
    await world.run(PODS, pod(containers=[sized(**resources)]))
    used = world.client.one(RESOURCE_QUOTAS, "q", "ns")["status"]["used"]["pods"]
    assert used == ("1" if counted else "0")


async def test_priority_class(world: World) -> None:
    world.client.seed(PRIORITY_CLASSES, {"metadata": {"name": "high"}, "value": 7, "preemptionPolicy": "Never"})
    spec = (await world.run(PODS, pod(priorityClassName="high"))).object["spec"]
    assert (spec["priority"], spec["preemptionPolicy"]) == (7, "Never")
    error = await world.refused(PODS, pod(priority=77))
    assert error.message == (
        'pods "p" is forbidden: the integer value of priority (77) must not be provided in pod spec; priority '
        "admission controller computed 0 from the given PriorityClass name"
    )
    error = await world.refused(PODS, pod(priorityClassName="none"))
    assert error.message == 'pods "p" is forbidden: no PriorityClass with name none was found'


async def test_one_default_priority_class(world: World) -> None:
    world.client.seed(PRIORITY_CLASSES, {"metadata": {"name": "a"}, "value": 5, "globalDefault": True})
    assert (await world.run(PODS, pod())).object["spec"]["priorityClassName"] == "a"
    error = await world.refused(PRIORITY_CLASSES, {"metadata": {"name": "b"}, "value": 1, "globalDefault": True})
    assert "PriorityClass a is already marked as default. Only one default can exist" in error.message


async def test_runtime_class(world: World) -> None:
    scheduling = {"nodeSelector": {"rt": "1"}, "tolerations": [{"key": "rt", "operator": "Exists"}]}
    world.client.seed(
        RUNTIME_CLASSES,
        {"metadata": {"name": "rc"}, "overhead": {"podFixed": {"cpu": "10m"}}, "scheduling": scheduling},
    )
    spec = (await world.run(PODS, pod(runtimeClassName="rc", nodeSelector={"a": "b"}))).object["spec"]
    assert spec["overhead"] == {"cpu": "10m"}
    assert spec["nodeSelector"] == {"a": "b", "rt": "1"}
    assert spec["tolerations"][-1] == {"key": "rt", "operator": "Exists"}
    error = await world.refused(PODS, pod(runtimeClassName="rc", nodeSelector={"rt": "2"}))
    assert error.message == (
        'pods "p" is forbidden: conflict: runtimeClass.scheduling.nodeSelector[rt] = 1; pod.spec.nodeSelector[rt] = 2'
    )
    error = await world.refused(PODS, pod(runtimeClassName="none"))
    assert error.message == 'pods "p" is forbidden: pod rejected: RuntimeClass "none" not found'


async def test_storage_defaults_and_protection(world: World) -> None:
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    world.client.seed(STORAGE_CLASSES, {"metadata": {"name": "fast", "annotations": default}})
    draft = (await world.run(PERSISTENT_VOLUME_CLAIMS, claim())).object
    assert draft["spec"]["storageClassName"] == "fast"
    assert draft["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    chosen = (await world.run(PERSISTENT_VOLUME_CLAIMS, claim(storageClassName=""))).object
    assert chosen["spec"]["storageClassName"] == ""


@pytest.mark.parametrize("expands", [True, False])
async def test_claims_grow_where_their_class_allows(world: World, expands: bool) -> None:
    world.client.seed(STORAGE_CLASSES, {"metadata": {"name": "sc"}, "allowVolumeExpansion": expands})
    old = {**claim("1Gi", storageClassName="sc"), "status": {"phase": "Bound"}}
    new = {**claim("2Gi", storageClassName="sc"), "status": {"phase": "Bound"}}
    if expands:
        await world.run(PERSISTENT_VOLUME_CLAIMS, new, operation=Operation.UPDATE, old=old)
        return
    error = await world.refused(PERSISTENT_VOLUME_CLAIMS, new, operation=Operation.UPDATE, old=old)
    assert "only dynamically provisioned pvc can be resized" in error.message


async def test_default_ingress_class(world: World) -> None:
    annotations = {"ingressclass.kubernetes.io/is-default-class": "true"}
    world.client.seed(INGRESS_CLASSES, {"metadata": {"name": "web", "annotations": annotations}})
    draft = {"metadata": {"name": "i", "namespace": "ns"}, "spec": {}}
    assert (await world.run(INGRESSES, draft)).object["spec"]["ingressClassName"] == "web"


async def test_new_nodes_are_tainted(world: World) -> None:
    request = await world.run(NODES, {"metadata": {"name": "n1"}, "spec": {}})
    assert request.object["spec"]["taints"] == [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]


@pytest.mark.parametrize(
    ("resource", "draft", "options", "why"),
    [
        (NODES, {"metadata": {"name": "n2"}}, {}, 'node "n1" is not allowed to modify node "n2"'),
        (
            NODES,
            {"metadata": {"name": "n1", "labels": {"node-role.kubernetes.io/master": ""}}},
            {},
            'node "n1" is not allowed to set the following labels: node-role.kubernetes.io/master',
        ),
        (
            NODES,
            {"metadata": {"name": "n1"}, "spec": {}},
            {"operation": Operation.UPDATE, "old": {"metadata": {"name": "n1"}, "spec": {"taints": [{"key": "x"}]}}},
            'node "n1" is not allowed to modify taints',
        ),
        (
            PODS,
            pod(nodeName="n1"),
            {},
            'pod does not have "kubernetes.io/config.mirror" annotation, node "n1" can only create mirror pods',
        ),
        (
            PODS,
            pod(),
            {"operation": Operation.UPDATE, "old": pod(nodeName="n2"), "subresource": "status"},
            'node "n1" can only update pod status for pods with spec.nodeName set to itself',
        ),
        (
            PODS,
            None,
            {"operation": Operation.DELETE, "old": pod(nodeName="n2")},
            'node "n1" can only delete pods with spec.nodeName set to itself',
        ),
        (
            SERVICE_ACCOUNTS,
            {"metadata": {"name": "default", "namespace": "ns"}, "spec": {}},
            {"subresource": "token"},
            "node requested token not bound to a pod",
        ),
    ],
)
async def test_nodes_write_only_what_is_theirs(world: World, resource, draft, options, why: str) -> None:
    error = await world.refused(resource, draft, user=NODE, **options)
    assert error.code == 403
    assert error.message.endswith(f"is forbidden: {why}")


async def test_nodes_may_register_and_report(world: World) -> None:
    labels = {"kubernetes.io/hostname": "n1", "example.com/x": "y"}
    await world.run(NODES, {"metadata": {"name": "n1", "labels": labels}}, user=NODE)
    mine = pod(nodeName="n1")
    await world.run(PODS, mine, operation=Operation.UPDATE, old=mine, subresource="status", user=NODE)


@pytest.mark.parametrize("resource", [PODS, PERSISTENT_VOLUME_CLAIMS, INGRESSES, NODES, SERVICES, DEPLOYMENTS])
@pytest.mark.parametrize("extra", [{}, {"spec": None}, {"spec": {}}], ids=["no spec", "null spec", "empty spec"])
async def test_objects_without_a_spec_are_left_to_validation(world: World, resource, extra: dict) -> None:
    world.client.seed(LIMIT_RANGES, LIMITS)
    world.client.seed(RESOURCE_QUOTAS, quota({"pods": "9"}, {"pods": "0"}))
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    world.client.seed(STORAGE_CLASSES, {"metadata": {"name": "fast", "annotations": default}})
    draft = {"metadata": {"name": "x", "namespace": "ns"}, **extra}
    try:
        await world.run(resource, draft)
    except ApiError as error:
        assert error.code == 403


def test_chain_order_and_switches() -> None:
    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

    plugins: dict[str, Any] = {name: Named(name) for name in reversed(ORDER)}
    chain = build_chain(plugins, enable=["AlwaysPullImages"], disable=["Priority"])
    names = [plugin.name for plugin in chain.plugins]
    assert names[0] == "NamespaceLifecycle" and names[-1] == "ResourceQuota"
    assert "AlwaysPullImages" in names and "Priority" not in names and "DenyServiceExternalIPs" not in names
    with pytest.raises(ValueError, match="unknown"):
        build_chain(plugins, enable=["Nope"])
    with pytest.raises(ValueError, match="overlapped"):
        build_chain(plugins, enable=["Priority"], disable=["Priority"])
