"""Plugins that are off by default: what they let through, fill in and refuse, with Kubernetes' texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from minikube_py.client.testing.fake_client import FakeClient
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.components.apiserver.admission.configuration import read_admission_configuration
from minikube_py.components.apiserver.admission.general import (
    AlwaysDeny,
    NamespaceAutoProvision,
    NamespaceExists,
    OwnerReferencesPermissionEnforcement,
)
from minikube_py.components.apiserver.admission.pod_tolerations import (
    ALLOWED,
    DEFAULTS,
    ExtendedResourceToleration,
    LimitPodHardAntiAffinityTopology,
    PodTolerationRestriction,
    TolerationSettings,
    read_settings,
)
from minikube_py.components.apiserver.admission.tolerations import covers, merged
from minikube_py.components.apiserver.configuration_file import ConfigurationError
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.registry.kinds import Kinds
from minikube_py.components.apiserver.types import AdmissionRequest, Attributes, Decision, Operation, UserInfo
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.resources import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, NODES, PODS, Resource

CREATE, UPDATE = Operation.CREATE, Operation.UPDATE


def asked(
    resource: Resource,
    new: dict[str, Any] | None,
    *,
    operation: Operation = CREATE,
    old: dict[str, Any] | None = None,
    subresource: str = "",
    dry_run: bool = False,
) -> AdmissionRequest:
    namespace, kind = "ns" if resource.namespaced else "", Kind(resource, "x", "x")
    return AdmissionRequest(
        operation, kind, subresource, namespace, "x", UserInfo("joe"), new, old, {}, dry_run=dry_run
    )  # fmt: skip


def in_namespace(**annotations: str) -> FakeClient:
    client = FakeClient(FakeClock())
    client.seed(NAMESPACES, {"metadata": {"name": "ns", "annotations": annotations}})
    return client


async def test_always_deny() -> None:
    for phase in (AlwaysDeny().admit, AlwaysDeny().validate):
        with pytest.raises(ApiError) as caught:
            await phase(asked(CONFIG_MAPS, {}))
        text = 'configmaps "x" is forbidden: admission control is denying all modifications'
        assert (caught.value.code, caught.value.message) == (403, text)


async def test_the_namespace_of_a_write_exists() -> None:
    client = FakeClient(FakeClock())
    plugin = NamespaceExists(Lookup(client, NAMESPACES))
    assert not plugin.handles(asked(NODES, {})) and not plugin.handles(asked(PODS, None, operation=Operation.CONNECT))
    with pytest.raises(ApiError) as caught:
        await plugin.validate(asked(CONFIG_MAPS, {}))
    assert (caught.value.code, caught.value.message) == (404, 'namespaces "ns" not found')
    client.seed(NAMESPACES, {"metadata": {"name": "ns"}})
    await plugin.validate(asked(CONFIG_MAPS, {}))


async def test_namespaces_are_made_when_needed() -> None:
    client = FakeClient(FakeClock())
    plugin = NamespaceAutoProvision(client, Lookup(client, NAMESPACES))
    assert not plugin.handles(asked(CONFIG_MAPS, {}, dry_run=True)) and not plugin.handles(asked(NODES, {}))
    for _ in range(2):
        assert plugin.handles(asked(CONFIG_MAPS, {}))
        await plugin.admit(asked(CONFIG_MAPS, {}))
        assert (await client.get(NAMESPACES, "ns"))["metadata"]["name"] == "ns"


class Allowing:
    """Allows what it is told: verb, resource with its subresource, namespace and name."""

    def __init__(self, *allowed: str) -> None:
        self._allowed = allowed

    async def authorize(self, user: UserInfo, attributes: Attributes) -> tuple[Decision, str]:
        what = f"{attributes.resource}/{attributes.subresource}".rstrip("/")
        told = f"{attributes.verb} {what} {attributes.namespace}/{attributes.name}"
        return (Decision.ALLOW, "") if told in self._allowed else (Decision.NO_OPINION, "no")


def owned(*, blocking: bool | None = None, kind: str = "Deployment", api_version: str = "apps/v1") -> dict[str, Any]:
    owner: dict[str, Any] = {"apiVersion": api_version, "kind": kind, "name": "d", "uid": "u"}
    if blocking is not None:
        owner["blockOwnerDeletion"] = blocking
    return {"metadata": {"name": "x", "ownerReferences": [owner]}}


FREE: dict[str, Any] = {"metadata": {"name": "x"}}
FINALIZERS = "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: "
NO_MAPPING = "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion "
OWNERS = [
    (owned(), None, (), ""),
    (owned(), FREE, (), "cannot set an ownerRef on a resource you can't delete: no, <nil>"),
    (owned(), FREE, ("delete configmaps ns/x",), ""),
    (owned(), owned(), (), ""),
    (FREE, owned(), (), "cannot set an ownerRef on a resource you can't delete: no, <nil>"),
    (owned(blocking=True), None, (), FINALIZERS + "no, <nil>"),
    (owned(blocking=True), None, ("update deployments/finalizers ns/d",), ""),
    (owned(blocking=True, kind="Node", api_version="v1"), None, ("update nodes/finalizers /d",), ""),
    (owned(blocking=True), owned(blocking=False), ("delete configmaps ns/x",), FINALIZERS + "no, <nil>"),
    (owned(blocking=True), owned(blocking=True), (), ""),
    (
        owned(blocking=True, kind="Pea"),
        None,
        (),
        f'{NO_MAPPING}apps/v1 Kind Pea: no matches for kind "Pea" in version "apps/v1"',
    ),
]


@pytest.mark.parametrize(("new", "old", "allowed", "text"), OWNERS)
async def test_who_may_set_owners(new: Any, old: Any, allowed: tuple[str, ...], text: str) -> None:
    kinds = Kinds([Kind(resource, "x", "x") for resource in (DEPLOYMENTS, NODES)])
    plugin = OwnerReferencesPermissionEnforcement(Allowing(*allowed), kinds)
    request = asked(CONFIG_MAPS, new, operation=UPDATE if old else CREATE, old=old)
    assert plugin.handles(request)
    assert await refusal(plugin, request) == text


async def refusal(plugin: Any, request: AdmissionRequest) -> str:
    try:
        await plugin.validate(request)
    except ApiError as error:
        return error.message.partition(" is forbidden: ")[2]
    return ""


def test_owners_in_the_status_of_pods_are_left_alone() -> None:
    plugin = OwnerReferencesPermissionEnforcement(Allowing(), Kinds())
    assert not plugin.handles(asked(PODS, {}, operation=UPDATE, subresource="status"))


ALL = {"operator": "Exists"}
KEY = {"key": "a", "operator": "Exists"}
VALUE = {"key": "a", "operator": "Equal", "value": "b"}
SHORT = {**KEY, "effect": "NoExecute", "tolerationSeconds": 10}
LONG = {**KEY, "effect": "NoExecute"}
COVERS = [
    (ALL, SHORT, True),
    (KEY, VALUE, True),
    (VALUE, KEY, False),
    (LONG, SHORT, True),
    (SHORT, LONG, False),
    (SHORT, {**SHORT, "tolerationSeconds": 9}, True),
    (SHORT, {**SHORT, "tolerationSeconds": 11}, False),
    (KEY, {**KEY, "key": "c"}, False),
    ({**KEY, "effect": "NoSchedule"}, KEY, False),
    ({"key": "a", "value": "b"}, VALUE, True),
    ({"key": "a", "value": "b", "effect": ""}, {"key": "a", "value": "b"}, True),
    ({"key": "a", "value": "b"}, {"key": "a", "value": "b", "effect": "NoSchedule"}, False),
]


@pytest.mark.parametrize(("wide", "narrow", "wanted"), COVERS)
def test_tolerations_that_cover_others(wide: Any, narrow: Any, wanted: bool) -> None:
    assert covers(wide, narrow) == wanted


def test_merged_tolerations() -> None:
    assert merged([VALUE, SHORT], [LONG, VALUE, {"key": "z"}]) == [VALUE, LONG, {"key": "z"}]
    assert merged([VALUE, SHORT], [ALL]) == [ALL]


def pod(requests: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "resources": {"requests": requests or {}}}
    return {"metadata": {"name": "x"}, "spec": {"containers": [container], **spec}}


PRESSURE = {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}
MEMORY = {"memory": "1Mi"}
WHITELIST = "pod tolerations (possibly merged with namespace default tolerations) conflict with its "
GIVEN = [
    (pod(), {}, CREATE, [KEY]),
    (pod(), {DEFAULTS: ""}, CREATE, None),
    (pod(MEMORY), {DEFAULTS: ""}, CREATE, [PRESSURE]),
    (pod(tolerations=[VALUE]), {DEFAULTS: orjson.dumps([SHORT]).decode()}, CREATE, [VALUE, SHORT]),
    (pod(tolerations=[VALUE]), {}, CREATE, [KEY]),
    (pod(), {}, UPDATE, None),
    (pod(tolerations=[VALUE]), {ALLOWED: orjson.dumps([KEY]).decode()}, UPDATE, [VALUE]),
    (pod(tolerations=[ALL]), {ALLOWED: orjson.dumps([KEY]).decode()}, UPDATE, WHITELIST + "namespace whitelist"),
    (pod(tolerations=[{**KEY, "key": "forbidden"}]), {}, UPDATE, WHITELIST + "cluster whitelist"),
    (pod(tolerations=[ALL]), {ALLOWED: ""}, UPDATE, [ALL]),
    (pod(), {DEFAULTS: "{"}, CREATE, "unexpected end of JSON input"),
]


@pytest.mark.parametrize(("draft", "annotations", "operation", "wanted"), GIVEN)
async def test_tolerations_of_a_namespace(draft: Any, annotations: Any, operation: Operation, wanted: Any) -> None:
    settings = TolerationSettings(default=[KEY], allowed=[KEY, PRESSURE])
    plugin = PodTolerationRestriction(Lookup(in_namespace(**annotations), NAMESPACES), settings)
    draft = orjson.loads(orjson.dumps(draft))
    request = asked(PODS, draft, operation=operation, old={})
    if isinstance(wanted, str):
        with pytest.raises(ApiError) as caught:
            await plugin.admit(request)
        assert (caught.value.code, caught.value.reason, caught.value.message) == (500, "", wanted)
        return
    await plugin.admit(request)
    assert draft["spec"].get("tolerations") == wanted


CONFIGURED = """apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: PodTolerationRestriction
  configuration:
    apiVersion: podtolerationrestriction.admission.k8s.io/v1alpha1
    kind: Configuration
    default: [{key: a, operator: Exists}]
    whitelist: [{key: a, operator: OPERATOR}]
"""


def test_toleration_settings(tmp_path: Path) -> None:
    file = tmp_path / "admission.yaml"
    file.write_text(CONFIGURED.replace("OPERATOR", "Exists"))
    assert read_settings(read_admission_configuration(file)) == TolerationSettings([KEY], [KEY])
    file.write_text(CONFIGURED.replace("OPERATOR", "Odd"))
    with pytest.raises(ConfigurationError, match=r"whitelist\[0\].operator: Unsupported value: \"Odd\""):
        read_settings(read_admission_configuration(file))


async def test_pods_tolerate_the_taints_of_their_own_resources() -> None:
    own = {"key": "a.io/gpu", "operator": "Exists", "effect": "NoSchedule"}
    draft = pod({"a.io/gpu": "1", "cpu": "1", "b.io/x": "1"}, tolerations=[VALUE, {**own, "tolerationSeconds": 5}])
    await ExtendedResourceToleration().admit(asked(PODS, draft))
    assert draft["spec"]["tolerations"] == [VALUE, own, {**own, "key": "b.io/x"}]


@pytest.mark.parametrize("key", ["kubernetes.io/hostname", "zone"])
async def test_pods_keep_away_by_node_alone(key: str) -> None:
    terms = [{"topologyKey": "kubernetes.io/hostname"}, {"topologyKey": key}]
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    text = (
        "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey zone but only key kubernetes.io/hostname "
        "is allowed"
    )
    found = await refusal(LimitPodHardAntiAffinityTopology(), asked(PODS, pod(affinity=affinity)))
    assert found == (text if key == "zone" else "")
