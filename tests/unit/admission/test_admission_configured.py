"""Plugins that are switched on by flag, and the AdmissionConfiguration that tells them what to do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from minikube_py.client.kubeconfig import Connection
from minikube_py.client.testing.fake_client import FakeClient
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.components.apiserver.admission.configuration import (
    AdmissionConfiguration,
    PluginDocument,
    read_admission_configuration,
)
from minikube_py.components.apiserver.admission.event_rate_limit import EventRateLimit, Limit, read_limits
from minikube_py.components.apiserver.admission.image_policy import ImagePolicySettings, ImagePolicyWebhook
from minikube_py.components.apiserver.admission.image_policy import read_settings as read_image_policy
from minikube_py.components.apiserver.admission.pod_defaults import AlwaysPullImages
from minikube_py.components.apiserver.admission.pod_node_selector import (
    ANNOTATION,
    PodNodeSelector,
    PodNodeSelectorSettings,
)
from minikube_py.components.apiserver.admission.pod_node_selector import read_settings as read_node_selectors
from minikube_py.components.apiserver.admission.pod_security import PodSecurity
from minikube_py.components.apiserver.admission.pod_security.configuration import read_configuration
from minikube_py.components.apiserver.admission.pod_topology import PodTopologyLabels
from minikube_py.components.apiserver.configuration_file import ConfigurationError
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.security import SecuritySettings, build_security
from minikube_py.components.apiserver.types import AdmissionRequest, Operation, UserInfo
from minikube_py.components.apiserver.webhook_client import WebhookError
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.resources import EVENTS, NAMESPACES, NODES, PODS, Resource
from minikube_py.pki import ensure_pki

JOE = UserInfo("joe")


def request(draft: Any, resource: Resource = PODS, *, old: Any = None, user: UserInfo = JOE, dry_run: bool = False):
    operation = Operation.UPDATE if old else Operation.CREATE
    return AdmissionRequest(operation, Kind(resource, "x", "x"), "", "ns", "p", user, draft, old, {}, dry_run)


def pod(**spec: Any) -> dict[str, Any]:
    body = {"containers": [{"name": "c", "image": "i"}], **spec}
    return {"metadata": {"name": "p", "namespace": "ns"}, "spec": body}


async def run(plugin: Any, asked: AdmissionRequest) -> AdmissionRequest:
    assert plugin.handles(asked)
    await plugin.admit(asked)
    await plugin.validate(asked)
    return asked


def configuration(**plugins: Any) -> AdmissionConfiguration:
    documents = {name: PluginDocument(content, f"file: {name}", Path("/x")) for name, content in plugins.items()}
    return AdmissionConfiguration(documents)


def namespaces(annotations: dict[str, str] | None = None) -> Lookup:
    client = FakeClient(FakeClock())
    client.seed(NAMESPACES, {"metadata": {"name": "ns", "annotations": annotations or {}}})
    return Lookup(client, NAMESPACES)


# --- PodNodeSelector


@pytest.mark.parametrize(
    ("annotation", "settings", "given", "expected"),
    [
        (None, {}, {"a": "b"}, {"a": "b"}),
        ("pool=x,disk=ssd", {}, {"a": "b"}, {"a": "b", "pool": "x", "disk": "ssd"}),
        (None, {"default": {"pool": "shared"}}, None, {"pool": "shared"}),
        ("", {"default": {"pool": "shared"}}, None, None),
        (None, {"allowed": {"ns": {"pool": "x"}}}, {"pool": "x"}, {"pool": "x"}),
        (None, {"allowed": {"other": {"pool": "x"}}}, {"pool": "y"}, {"pool": "y"}),
    ],
    ids=["nothing to do", "the namespace's", "the default", "none by annotation", "allowed", "list of another"],
)
async def test_node_selectors(annotation, settings, given, expected) -> None:
    plugin = PodNodeSelector(
        namespaces({ANNOTATION: annotation} if annotation is not None else None), PodNodeSelectorSettings(**settings)
    )
    asked = await run(plugin, request(pod(nodeSelector=given) if given else pod()))
    assert asked.object is not None
    assert asked.object["spec"].get("nodeSelector") == expected


@pytest.mark.parametrize(
    ("annotation", "settings", "given", "text"),
    [
        ("pool=x", {}, {"pool": "y"}, "pod node label selector conflicts with its namespace node label selector"),
        (None, {"allowed": {"ns": {"pool": "x"}}}, {"pool": "y"}, "labels conflict with its namespace whitelist"),
        (None, {"allowed": {"ns": {"pool": "x"}}}, {"disk": "ssd"}, "labels conflict with its namespace whitelist"),
        ("pool", {}, {}, "invalid selector: pool"),
    ],
)
async def test_node_selectors_that_conflict(annotation, settings, given, text: str) -> None:
    plugin = PodNodeSelector(
        namespaces({ANNOTATION: annotation} if annotation else None), PodNodeSelectorSettings(**settings)
    )
    with pytest.raises(ApiError) as caught:
        await run(plugin, request(pod(nodeSelector=given)))
    assert text in caught.value.message


def test_node_selector_settings() -> None:
    content = {"podNodeSelectorPluginConfig": {"clusterDefaultNodeSelector": "a=b", "ns": "c=d,e=f"}}
    found = read_node_selectors(configuration(PodNodeSelector=content))
    assert (found.default, found.allowed) == ({"a": "b"}, {"ns": {"c": "d", "e": "f"}})
    assert read_node_selectors(configuration()) == PodNodeSelectorSettings()
    with pytest.raises(ConfigurationError, match=r"podNodeSelectorPluginConfig\.ns: invalid selector"):
        read_node_selectors(configuration(PodNodeSelector={"podNodeSelectorPluginConfig": {"ns": "c"}}))


# --- PodTopologyLabels


ZONE, REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"


@pytest.mark.parametrize(
    ("subresource", "draft", "expected"),
    [
        pytest.param("", {"spec": {"nodeName": "n"}}, {ZONE: "z", REGION: "r"}, id="a pod for a node"),
        pytest.param(
            "", {"metadata": {"labels": {ZONE: "y", "a": "b"}}, "spec": {"nodeName": "n"}},
            {ZONE: "z", REGION: "r", "a": "b"}, id="the node knows better",
        ),
        pytest.param("", {"spec": {}}, None, id="a pod for no node"),
        pytest.param("", {"spec": {"nodeName": "gone"}}, None, id="a pod for an unknown node"),
        pytest.param("binding", {"target": {"kind": "Node", "name": "n"}}, {ZONE: "z", REGION: "r"}, id="a binding"),
        pytest.param("binding", {"target": {"name": "n"}}, None, id="a binding to nothing named"),
    ],
)  # fmt: skip
async def test_pods_get_the_topology_of_their_node(subresource: str, draft: Any, expected: Any) -> None:
    client = FakeClient(FakeClock())
    client.seed(NODES, {"metadata": {"name": "n", "labels": {ZONE: "z", REGION: "r", "disk": "ssd"}}})
    asked = request(draft)
    asked.subresource = subresource
    await run(PodTopologyLabels(Lookup(client, NODES)), asked)
    assert asked.object is not None
    assert asked.object.get("metadata", {}).get("labels") == expected


# --- EventRateLimit


def event(name: str, component: str = "kubelet") -> dict[str, Any]:
    return {
        "metadata": {"name": "e", "namespace": "ns"},
        "source": {"component": component},
        "involvedObject": {"kind": "Pod", "name": name},
    }


async def accepted(plugin: EventRateLimit, count: int, **options: Any) -> int:
    passed = 0
    for _ in range(count):
        try:
            await run(plugin, request(event(options.get("name", "p")), EVENTS, user=options.get("user", JOE)))
        except ApiError as error:
            assert (error.code, error.reason) == (429, "TooManyRequests")
        else:
            passed += 1
    return passed


@pytest.mark.parametrize(
    ("kind", "other", "expected"),
    [
        ("Server", {"user": UserInfo("ann"), "name": "q"}, 0),
        ("User", {"user": UserInfo("ann")}, 5),
        ("User", {"name": "q"}, 0),
        ("Namespace", {"user": UserInfo("ann")}, 0),
        ("SourceAndObject", {"name": "q"}, 5),
        ("SourceAndObject", {"user": UserInfo("ann")}, 0),
    ],
)
async def test_events_are_limited_by_key(kind: str, other: dict[str, Any], expected: int) -> None:
    clock = FakeClock()
    plugin = EventRateLimit([Limit(kind, qps=2, burst=5)], clock)
    assert await accepted(plugin, 20) == 5
    assert await accepted(plugin, 20, **other) == expected
    clock.jump(1)
    assert await accepted(plugin, 20) == 2
    clock.jump(3600)
    assert await accepted(plugin, 20) == 5, "the burst is the most that can be saved"


async def test_limits_name_their_key_and_forget_old_ones() -> None:
    plugin = EventRateLimit([Limit("User", 1, 1, cache_size=2), Limit("Server", 1, 100)], FakeClock())
    await run(plugin, request(event("p"), EVENTS))
    with pytest.raises(ApiError) as caught:
        await run(plugin, request(event("p"), EVENTS))
    assert caught.value.message == "Too many requests: limit reached on type User for key joe"
    for name in ("a", "b"):
        await run(plugin, request(event("p"), EVENTS, user=UserInfo(name)))
    await run(plugin, request(event("p"), EVENTS))


def test_only_real_writes_of_events_count() -> None:
    plugin = EventRateLimit([Limit("Server", 1, 1)], FakeClock())
    assert not plugin.handles(request(event("p"), EVENTS, dry_run=True))
    assert not plugin.handles(request(pod()))


LIMITS = {"apiVersion": "eventratelimit.admission.k8s.io/v1alpha1", "kind": "Configuration"}


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ([], "limits: Required value"),
        ([{"type": "Pod", "qps": 1, "burst": 1}], 'limits[0].type: Unsupported value: "Pod"'),
        ([{"type": "Server", "qps": 0, "burst": 1}], "limits[0].qps: Invalid value: 0: must be positive"),
        ([{"type": "Server", "qps": 1, "burst": "x"}], "limits[0].burst: must be a whole number"),
        ([{"type": "Server", "qps": 1, "burst": 1}] * 2, "given more than once"),
    ],
)
def test_limits_that_are_refused(limits: list[Any], text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_limits(configuration(EventRateLimit={**LIMITS, "limits": limits}))
    assert text in str(caught.value)


# --- ImagePolicyWebhook


class Service:
    """An image policy service in memory."""

    def __init__(self, status: Any) -> None:
        self.status = status
        self.questions: list[Any] = []

    async def ask(self, question: Any) -> Any:
        self.questions.append(question)
        if isinstance(self.status, Exception):
            raise self.status
        return {"status": self.status}

    async def close(self) -> None:
        """Nothing is open."""


def images(service: Service, clock: FakeClock | None = None, *, default_allow: bool = False) -> ImagePolicyWebhook:
    settings = ImagePolicySettings(
        connection=Connection("https://nowhere"), allow_ttl_seconds=50, deny_ttl_seconds=10,
        first_delay_seconds=0.5, default_allow=default_allow,
    )  # fmt: skip
    return ImagePolicyWebhook(settings, service, clock or FakeClock())


async def test_the_service_is_told_images_and_its_annotations() -> None:
    service = Service({"allowed": True, "auditAnnotations": {"a": "b"}})
    draft = pod(initContainers=[{"name": "i", "image": "init"}])
    draft["metadata"]["annotations"] = {"mine.image-policy.k8s.io/ticket": "7", "other": "x"}
    asked = await run(images(service), request(draft))
    assert service.questions == [
        {
            "apiVersion": "imagepolicy.k8s.io/v1alpha1",
            "kind": "ImageReview",
            "metadata": {},
            "spec": {
                "containers": [{"image": "i"}, {"image": "init"}],
                "namespace": "ns",
                "annotations": {"mine.image-policy.k8s.io/ticket": "7"},
            },
        }
    ]
    assert asked.audit_annotations == {"imagepolicywebhook.image-policy.k8s.io/a": "b"}


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({"allowed": False, "reason": "unsigned"}, "image policy webhook backend denied one or more images: unsigned"),
        ({"allowed": False}, "image policy webhook backend denied one or more images"),
        ({}, "image policy webhook backend denied one or more images"),
        ({"allowed": "true"}, "the answer's status is malformed"),
        (WebhookError("away"), "image policy webhook backend could not be asked: away"),
    ],
)
async def test_images_that_are_refused(status: Any, text: str) -> None:
    with pytest.raises(ApiError) as caught:
        await run(images(Service(status)), request(pod()))
    assert caught.value.code == 403
    assert caught.value.message.endswith(text)


async def test_a_service_that_is_away_may_be_ignored() -> None:
    asked = await run(images(Service(WebhookError("away")), default_allow=True), request(pod()))
    assert asked.audit_annotations == {"imagepolicywebhook.image-policy.k8s.io/failed-open": "true"}


async def test_verdicts_are_remembered_and_only_new_images_are_asked_about() -> None:
    clock, service = FakeClock(), Service({"allowed": True})
    plugin = images(service, clock)
    for _ in range(3):
        await run(plugin, request(pod()))
    assert len(service.questions) == 1
    clock.jump(51)
    await run(plugin, request(pod()))
    assert len(service.questions) == 2
    await run(plugin, request(pod(priority=1), old=pod()))
    assert len(service.questions) == 2
    await run(plugin, request(pod(containers=[{"name": "c", "image": "new"}]), old=pod()))
    assert len(service.questions) == 3


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "imagePolicy.kubeConfigFile: Required value"),
        ({"kubeConfigFile": "x", "allowTTL": 1801}, "imagePolicy.allowTTL: Invalid value: 1801"),
        ({"kubeConfigFile": "x", "retryBackoff": -2}, "imagePolicy.retryBackoff: Invalid value: -2"),
        ({"kubeConfigFile": "x", "policy": 1}, 'unknown field "imagePolicy.policy"'),
        ({"kubeConfigFile": "x"}, "cannot read kubeconfig /x/x"),
    ],
)
def test_image_policies_that_are_refused(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_image_policy(configuration(ImagePolicyWebhook={"imagePolicy": fields}))
    assert text in str(caught.value)


# --- AlwaysPullImages


async def test_images_are_always_pulled() -> None:
    plugin = AlwaysPullImages()
    containers = [{"name": "c", "image": "i", "imagePullPolicy": "Never"}]
    asked = await run(plugin, request(pod(containers=containers, initContainers=[{"name": "d", "image": "j"}])))
    assert asked.object is not None
    both = asked.object["spec"]["containers"] + asked.object["spec"]["initContainers"]
    assert [item["imagePullPolicy"] for item in both] == ["Always", "Always"]
    asked.object["spec"]["containers"][0]["imagePullPolicy"] = "IfNotPresent"  # by a later mutation
    with pytest.raises(ApiError) as caught:
        await plugin.validate(asked)
    assert 'imagePullPolicy: Unsupported value: "IfNotPresent"' in caught.value.message
    same = request(pod(), old=pod())
    await run(plugin, same)
    assert same.object is not None
    assert "imagePullPolicy" not in same.object["spec"]["containers"][0]


# --- PodSecurity

SECURITY = {"apiVersion": "pod-security.admission.config.k8s.io/v1", "kind": "PodSecurityConfiguration"}


async def test_pod_security_defaults_and_exemptions() -> None:
    content = {
        **SECURITY,
        "defaults": {"enforce": "baseline", "warn": "restricted", "warn-version": "v1.30"},
        "exemptions": {"usernames": ["ann"], "namespaces": ["kube-system"], "runtimeClasses": ["gvisor"]},
    }
    policy, exemptions = read_configuration(configuration(PodSecurity=content))
    assert [str(policy.enforce), str(policy.audit), str(policy.warn)] == [
        "baseline:latest", "privileged:latest", "restricted:v1.30",
    ]  # fmt: skip
    plugin = PodSecurity(namespaces(), Lookup(FakeClient(FakeClock()), PODS), policy, exemptions)
    with pytest.raises(ApiError, match='violates PodSecurity "baseline:latest"'):
        await run(plugin, request(pod(hostNetwork=True)))
    await run(plugin, request(pod(hostNetwork=True), user=UserInfo("ann")))
    await run(plugin, request(pod(hostNetwork=True, runtimeClassName="gvisor")))
    assert (await run(plugin, request(pod()))).warnings


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"defaults": {"enforce": "strict"}}, "must be one of privileged, baseline, restricted"),
        ({"defaults": {"audit-version": "1.30"}}, 'must be "latest" or "v1.x"'),
        ({"defaults": {"deny": "baseline"}}, 'unknown field "defaults.deny"'),
        ({"exemptions": {"namespaces": ["A_B"]}}, "exemptions.namespaces[0]: Invalid value"),
        ({"exemptions": {"usernames": ["a", "a"]}}, 'exemptions.usernames[1]: Duplicate value: "a"'),
        ({"kind": "Other"}, "expected pod-security.admission.config.k8s.io/v1"),
    ],
)
def test_pod_security_configurations_that_are_refused(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(configuration(PodSecurity={**SECURITY, **fields}))
    assert text in str(caught.value)


# --- AdmissionConfiguration

HEAD = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration"}
WEBHOOK = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "WebhookAdmissionConfiguration"}


def written(folder: Path, *plugins: Any, **more: Any) -> Path:
    path = folder / "admission.yaml"
    path.write_text(yaml.safe_dump({**HEAD, "plugins": list(plugins), **more}))
    return path


def test_plugins_inline_and_in_files(tmp_path: Path) -> None:
    (tmp_path / "limits.yaml").write_text(
        yaml.safe_dump({**LIMITS, "limits": [{"type": "Server", "qps": 50, "burst": 100}]})
    )
    found = read_admission_configuration(
        written(
            tmp_path,
            {"name": "EventRateLimit", "path": "limits.yaml"},
            {"name": "ValidatingAdmissionWebhook", "configuration": {**WEBHOOK, "kubeConfigFile": "hooks.kubeconfig"}},
        )
    )
    assert read_limits(found) == (Limit("Server", 50, 100),)
    assert found.webhook_kubeconfig("ValidatingAdmissionWebhook") == tmp_path / "hooks.kubeconfig"
    assert found.webhook_kubeconfig("MutatingAdmissionWebhook") is None


@pytest.mark.parametrize(
    ("plugins", "text"),
    [
        ([{"name": "Nope"}], "plugins[0].name: no admission plugin is named 'Nope'"),
        ([{"name": "PodSecurity", "configuration": {}}] * 2, "PodSecurity is configured twice"),
        ([{"name": "PodSecurity", "configuration": "x"}], "plugins[0].configuration: must be an object"),
        ([{"name": "PodSecurity", "path": "none.yaml"}], "none.yaml: No such file or directory"),
        ([{"name": "PodSecurity", "config": {}}], 'unknown field "plugins[0].config"'),
    ],
)
def test_files_that_are_refused(tmp_path: Path, plugins: list[Any], text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_admission_configuration(written(tmp_path, *plugins))
    assert text in str(caught.value)


async def test_the_chain_of_a_server_follows_the_file(tmp_path: Path) -> None:
    clock = FakeClock()
    client = FakeClient(clock)
    client.seed(NAMESPACES, {"metadata": {"name": "ns", "annotations": {ANNOTATION: "pool=x"}}})

    def build(**settings: Any) -> list[str]:
        pki = ensure_pki(tmp_path / "pki", node_name="n", node_ips=[], service_ip="10.43.0.1", clock=clock)
        chain = build_security(client, pki, SecuritySettings(**settings), clock).admission
        return [plugin.name for plugin in chain.plugins]

    optional = {"EventRateLimit", "ImagePolicyWebhook", "PodNodeSelector", "AlwaysPullImages"}
    assert not optional & set(await asyncio.to_thread(build))
    limits = {**LIMITS, "limits": [{"type": "Server", "qps": 50, "burst": 100}]}
    file = written(tmp_path, {"name": "EventRateLimit", "configuration": limits})
    names = await asyncio.to_thread(
        lambda: build(
            admission_control_config_file=str(file),
            enable_admission_plugins=("EventRateLimit", "PodNodeSelector", "AlwaysPullImages"),
        )
    )
    assert {"EventRateLimit", "PodNodeSelector", "AlwaysPullImages"} <= set(names)
    for name in ("EventRateLimit", "ImagePolicyWebhook"):
        with pytest.raises(ConfigurationError, match=f"{name} needs a configuration"):
            await asyncio.to_thread(lambda name=name: build(enable_admission_plugins=(name,)))
