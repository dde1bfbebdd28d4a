"""Kubernetes' conformance tests of admission webhooks and validating policies, with kubectl on a whole server.

The webhook runs in the node's network namespace and is reached through a Service with endpoints of its own.
Each test says which conformance test it is.
"""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cluster import IMAGE, NODE_IP, Cluster, wait_until

from minikube_py.client.clock import SystemClock
from minikube_py.pki import ensure_pki

SERVER = Path(__file__).with_name("admission_webhook.py")
PORT = 8444
GROUP = "admissionregistration.k8s.io"
BAD_DATA = {"webhook-e2e-test": "webhook-disallow"}
CREATE = ("CREATE",)


@dataclass
class Webhooks:
    """A namespace of the test's own with the webhook's Service in it; removes what it registered."""

    cluster: Cluster
    namespace: str
    ca_bundle: str
    registered: list[tuple[str, str]] = field(default_factory=list)

    def hook(self, path: str, resources: tuple[str, ...], **more: Any) -> dict[str, Any]:
        """A webhook for this namespace; ``group`` and ``operations`` are the rule's."""
        rule = {
            "operations": list(more.pop("operations", ("CREATE", "UPDATE"))),
            "apiGroups": [more.pop("group", "")],
            "apiVersions": ["*"],
            "resources": list(resources),
        }
        service = {"namespace": self.namespace, "name": "hook", "path": path, "port": 8443}
        return {
            "name": f"{path.strip('/')}.example.com",
            "rules": [rule],
            "clientConfig": {"service": service, "caBundle": self.ca_bundle},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.namespace}},
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            **more,
        }

    def register(self, kind: str, *hooks: Mapping[str, Any], name: str = "", **metadata: Any) -> str:
        called = name or f"{self.namespace}-{len(self.registered)}"
        meta = {"name": called, **metadata}
        self.registered.append((kind, called))
        self.cluster.apply(
            {
                "apiVersion": f"{GROUP}/v1",
                "kind": f"{kind}WebhookConfiguration",
                "metadata": meta,
                "webhooks": list(hooks),
            }
        )
        return called

    def remove(self, kind: str, name: str) -> None:
        self.cluster.kubectl("delete", f"{kind}webhookconfiguration", name, "--ignore-not-found")

    def create(self, obj: Mapping[str, Any], *, namespace: str = "") -> str:
        """What kubectl says, also of a refusal."""
        return self.cluster.kubectl(
            "create", "-n", namespace or self.namespace, "-f", "-", stdin=json.dumps(obj), check=False
        )

    def config_map(self, name: str, data: Mapping[str, str] | None = None) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": dict(data or {"a": "b"})}

    def get(self, *arguments: str) -> Any:
        return self.cluster.get("-n", self.namespace, *arguments)


@pytest.fixture(scope="module")
def webhook_server(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """(the namespace of the Service, the CA bundle); the server runs until the module's tests are done."""
    namespace = f"hooks-{secrets.token_hex(2)}"
    pki = ensure_pki(
        cluster.folder / "hook-pki", node_name="hook", node_ips=[NODE_IP], sans=[f"hook.{namespace}.svc"],
        service_ip="10.43.0.1", clock=SystemClock(),
    )  # fmt: skip
    pair = pki.serving_kube_apiserver
    command = [sys.executable, str(SERVER), str(pair.certificate), str(pair.key), NODE_IP, str(PORT)]
    process = subprocess.Popen(cluster.enter(*command))
    meta = {"name": "hook", "namespace": namespace}
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {
            "apiVersion": "v1", "kind": "Service", "metadata": meta,
            "spec": {"ports": [{"name": "https", "port": 8443, "targetPort": PORT}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {**meta, "labels": {"kubernetes.io/service-name": "hook"}},
            "ports": [{"name": "https", "port": PORT, "protocol": "TCP"}],
            "endpoints": [{"addresses": [NODE_IP], "conditions": {"ready": True}}],
        },
    )  # fmt: skip
    try:
        yield namespace, base64.b64encode(pki.server_ca.certificate.read_bytes()).decode()
    finally:
        process.terminate()
        process.wait()
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture
def hooks(cluster: Cluster, webhook_server: tuple[str, str]) -> Iterator[Webhooks]:
    made = Webhooks(cluster, *webhook_server)
    wait_until("default ServiceAccount", lambda: made.get("serviceaccount", "default"))
    try:
        yield made
    finally:
        for kind, name in made.registered:
            made.remove(kind, name)
        for plural in ("configmaps", "pods"):
            cluster.kubectl("delete", plural, "--all", "-n", made.namespace, "--wait=false", "--grace-period=0")


def pod(name: str, **labels: str) -> dict[str, Any]:
    container = {"name": "c", "image": IMAGE, "command": ["sleep", "1000"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }


def test_deny_pod_and_configmap_creation(hooks: Webhooks) -> None:
    """Should be able to deny pod and configmap creation."""
    hooks.register("Validating", hooks.hook("/pods", ("pods",)), hooks.hook("/data", ("configmaps",)))
    assert "the pod contains unwanted label" in hooks.create(pod("bad", **BAD_DATA))
    assert "the object contains unwanted key and value" in hooks.create(hooks.config_map("bad", BAD_DATA))
    assert "created" in hooks.create(hooks.config_map("good"))
    patch = json.dumps({"data": BAD_DATA})
    for how in ("merge", "strategic"):
        said = hooks.cluster.kubectl(
            "patch", "configmap", "good", "-n", hooks.namespace, f"--type={how}", "-p", patch, check=False
        )
        assert 'admission webhook "data.example.com" denied the request: the object contains' in said
    changed = {**hooks.config_map("good", BAD_DATA), "metadata": {"name": "good", "namespace": hooks.namespace}}
    said = hooks.cluster.kubectl("replace", "-f", "-", stdin=json.dumps(changed), check=False)
    assert "denied the request" in said
    # another namespace is none of the webhook's business
    assert "created" in hooks.create(hooks.config_map("elsewhere", BAD_DATA), namespace="default")
    hooks.cluster.kubectl("delete", "configmap", "elsewhere", "-n", "default")


def test_deny_attach(hooks: Webhooks) -> None:
    """Should be able to deny attaching pod."""
    hooks.register("Validating", hooks.hook("/attach", ("pods/attach",), operations=("CONNECT",)))
    hooks.create(pod("attached"))
    wait_until("pod runs", lambda: hooks.get("pod", "attached")["status"].get("phase") == "Running", seconds=60)
    said = hooks.cluster.kubectl("attach", "attached", "-n", hooks.namespace, check=False, seconds=30)
    assert "attaching to pod 'attached' is not allowed (PodAttachOptions)" in said


def definition(plural: str, **properties: Any) -> dict[str, Any]:
    data = (
        {"type": "object", "properties": properties}
        if properties
        else {"type": "object", "additionalProperties": {"type": "string"}}
    )
    schema = {"type": "object", "properties": {"data": data}}
    versions = [
        {"name": version, "served": True, "storage": version == "v1", "schema": {"openAPIV3Schema": schema}}
        for version in ("v1", "v2")
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.hooks.example.com"},
        "spec": {
            "group": "hooks.example.com",
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": plural.removesuffix("s"), "kind": plural.removesuffix("s").title()},
            "versions": versions,
        },
    }


def install(hooks: Webhooks, crd: Mapping[str, Any]) -> None:
    hooks.cluster.apply(crd)
    hooks.cluster.kubectl("wait", "--for=condition=Established", f"crd/{crd['metadata']['name']}")


def custom(plural: str, name: str, data: Mapping[str, str]) -> dict[str, Any]:
    kind = plural.removesuffix("s").title()
    return {"apiVersion": "hooks.example.com/v1", "kind": kind, "metadata": {"name": name}, "data": dict(data)}


def test_deny_custom_resources(hooks: Webhooks) -> None:
    """Should be able to deny custom resource creation, update and deletion."""
    install(hooks, definition("denials"))
    rule = hooks.hook("/data", ("denials",), group="hooks.example.com", operations=("CREATE", "UPDATE", "DELETE"))
    name = hooks.register("Validating", rule)
    assert "denied the request" in hooks.create(custom("denials", "bad", BAD_DATA))
    assert "created" in hooks.create(custom("denials", "good", {"a": "b"}))
    patch = json.dumps({"data": BAD_DATA})
    arguments = ("patch", "denial", "good", "-n", hooks.namespace, "--type=merge", "-p", patch)
    assert "denied the request" in hooks.cluster.kubectl(*arguments, check=False)
    hooks.remove("Validating", name)
    hooks.cluster.kubectl(*arguments)
    hooks.register("Validating", rule)
    delete = ("delete", "denial", "good", "-n", hooks.namespace)
    assert "denied the request" in hooks.cluster.kubectl(*delete, check=False)
    hooks.cluster.kubectl("patch", "denial", "good", "-n", hooks.namespace, "--type=merge", "-p", '{"data":null}')
    hooks.cluster.kubectl(*delete)
    hooks.cluster.kubectl("delete", "crd", "denials.hooks.example.com")


def test_mutate_custom_resources_with_pruning_and_another_stored_version(hooks: Webhooks) -> None:
    """Should mutate custom resource; with pruning; with different stored version."""
    install(
        hooks, definition("changes", **{"mutation-start": {"type": "string"}, "mutation-stage-1": {"type": "string"}})
    )
    hooks.register("Mutating", hooks.hook("/mutate-data", ("changes",), group="hooks.example.com"), name="stage-1")
    hooks.register("Mutating", hooks.hook("/mutate-data", ("changes",), group="hooks.example.com"), name="stage-2")
    hooks.create(custom("changes", "one", {"mutation-start": "yes"}))
    assert hooks.get("change", "one")["data"] == {"mutation-start": "yes", "mutation-stage-1": "yes"}
    versions = [
        {"op": "replace", "path": "/spec/versions/0/storage", "value": False},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": True},
    ]
    hooks.cluster.kubectl("patch", "crd", "changes.hooks.example.com", "--type=json", "-p", json.dumps(versions))
    patch = json.dumps({"data": {"mutation-stage-1": None}})
    hooks.cluster.kubectl("patch", "change", "one", "-n", hooks.namespace, "--type=merge", "-p", patch)
    assert hooks.get("change", "one")["data"]["mutation-stage-1"] == "yes"
    hooks.cluster.kubectl("delete", "crd", "changes.hooks.example.com")


def test_deny_crd_creation(hooks: Webhooks) -> None:
    """Should deny crd creation."""
    rule = hooks.hook(
        "/always-deny", ("customresourcedefinitions",), group="apiextensions.k8s.io",
        objectSelector={"matchLabels": BAD_DATA},
    )  # fmt: skip
    hooks.register("Validating", rule)
    crd = definition("refusals")
    crd["metadata"]["labels"] = BAD_DATA
    assert "this webhook denies all requests" in hooks.create(crd)


@pytest.mark.parametrize(("seconds", "policy", "passes"), [(1, "Fail", False), (1, "Ignore", True), (10, "Fail", True)])
def test_honor_timeout(hooks: Webhooks, seconds: int, policy: str, passes: bool) -> None:
    """Should honor timeout."""
    hooks.register("Validating", hooks.hook("/slow", ("configmaps",), timeoutSeconds=seconds, failurePolicy=policy))
    said = hooks.create(hooks.config_map(f"slow-{seconds}-{policy.lower()}"))
    if passes:
        assert "created" in said
    else:
        assert 'failed calling webhook "slow.example.com"' in said and "context deadline exceeded" in said


def test_discovery(hooks: Webhooks) -> None:
    """Should include webhook resources in discovery documents."""
    listed = json.loads(hooks.cluster.kubectl("get", "--raw", f"/apis/{GROUP}/v1"))
    names = {resource["name"] for resource in listed["resources"]}
    assert {"mutatingwebhookconfigurations", "validatingwebhookconfigurations"} <= names


def test_ordered_mutation(hooks: Webhooks) -> None:
    """Should mutate configmap: the second webhook sees what the first one did."""
    first, second = hooks.hook("/mutate-data", ("configmaps",)), hooks.hook("/mutate-data", ("configmaps",))
    second["name"] = "second.example.com"
    hooks.register("Mutating", first, second)
    hooks.create(hooks.config_map("ordered", {"mutation-start": "yes"}))
    found = hooks.get("configmap", "ordered")["data"]
    assert found == {"mutation-start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes"}


def test_mutated_pods_get_defaults(hooks: Webhooks) -> None:
    """Should mutate pod and apply defaults after mutation."""
    hooks.register("Mutating", hooks.hook("/mutate-pod", ("pods",), operations=CREATE))
    hooks.create(pod("mutated"))
    added = hooks.get("pod", "mutated")["spec"]["initContainers"][0]
    assert (added["name"], added["terminationMessagePolicy"]) == ("webhook-added-init-container", "File")


def test_webhooks_do_not_reach_webhook_configurations(hooks: Webhooks) -> None:
    """Should not be able to mutate or prevent deletion of webhook configuration objects."""
    kinds = ("validatingwebhookconfigurations", "mutatingwebhookconfigurations")
    every = {"group": GROUP, "operations": ("*",), "namespaceSelector": {}}
    hooks.register("Validating", hooks.hook("/always-deny", kinds, **every))
    hooks.register("Mutating", hooks.hook("/add-label", kinds, **every))
    name = hooks.register("Validating", hooks.hook("/always-allow", ("configmaps",)))
    found = hooks.cluster.get("validatingwebhookconfiguration", name)
    assert "added-label" not in (found["metadata"].get("labels") or {})
    hooks.remove("Validating", name)
    assert hooks.cluster.get("validatingwebhookconfiguration", name) is None


def test_fail_closed(hooks: Webhooks) -> None:
    """Should unconditionally reject operations on fail closed webhook."""
    hook = hooks.hook("/always-allow", ("configmaps",))
    del hook["clientConfig"]["caBundle"]
    hooks.register("Validating", hook)
    said = hooks.create(hooks.config_map("closed"))
    assert "x509: certificate signed by unknown authority" in said


def test_a_webhook_that_is_the_api_server_itself(hooks: Webhooks) -> None:
    """Not a conformance test: the server asks itself, refuses itself, and nothing hangs."""
    root = hooks.get("configmap", "kube-root-ca.crt")["data"]["ca.crt"]
    path = f"/api/v1/namespaces/{hooks.namespace}/configmaps"
    hook = hooks.hook("/self", ("configmaps",), timeoutSeconds=5)
    hook["clientConfig"] = {
        "service": {"namespace": "default", "name": "kubernetes", "path": path},
        "caBundle": base64.b64encode(root.encode()).decode(),
    }
    hooks.register("Validating", hook)
    said = hooks.create(hooks.config_map("itself"))
    assert 'failed calling webhook "self.example.com"' in said and "system:anonymous" in said


@pytest.mark.parametrize("kind", ["Mutating", "Validating"])
def test_listing_webhooks(hooks: Webhooks, kind: str) -> None:
    """Listing mutating (validating) webhooks should work."""
    label = f"list-{kind.lower()}"
    path = "/mutate-data" if kind == "Mutating" else "/data"
    for number in range(10):
        hooks.register(kind, hooks.hook(path, ("configmaps",)), name=f"{label}-{number}", labels={"e2e": label})
    plural = f"{kind.lower()}webhookconfigurations"
    assert len(hooks.cluster.get(plural, "-l", f"e2e={label}")["items"]) == 10
    bad = hooks.config_map("listed", {"mutation-start": "yes", **(BAD_DATA if kind == "Validating" else {})})
    said = hooks.create(bad)
    if kind == "Validating":
        assert "denied the request" in said
    else:
        assert "mutation-stage-2" in hooks.get("configmap", "listed")["data"]
    hooks.cluster.kubectl("delete", plural, "-l", f"e2e={label}")
    bad["metadata"]["name"] = "after"
    assert "created" in hooks.create(bad)
    assert "mutation-stage-1" not in hooks.get("configmap", "after")["data"]


@pytest.mark.parametrize("kind", ["Mutating", "Validating"])
def test_patching_and_updating_a_webhook(hooks: Webhooks, kind: str) -> None:
    """Patching/updating a mutating (validating) webhook should work."""
    hook = hooks.hook("/mutate-data" if kind == "Mutating" else "/data", ("configmaps",))
    name = hooks.register(kind, hook)

    def operations(*wanted: str) -> None:
        patch = [{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": list(wanted)}]
        resource = f"{kind.lower()}webhookconfiguration"
        hooks.cluster.kubectl("patch", resource, name, "--type=json", "-p", json.dumps(patch))

    def works(called: str) -> bool:
        said = hooks.create(
            hooks.config_map(called, {"mutation-start": "yes", **(BAD_DATA if kind == "Validating" else {})})
        )
        if kind == "Validating":
            return "denied the request" in said
        return "mutation-stage-1" in hooks.get("configmap", called)["data"]

    operations("UPDATE")
    assert not works("update-only")
    operations("CREATE")
    assert works("create-again")


@pytest.mark.parametrize("kind", ["Mutating", "Validating"])
def test_match_conditions(hooks: Webhooks, kind: str) -> None:
    """Create and update with match conditions; reject invalid ones; mutate everything except 'skip-me'."""
    broken = hooks.hook(
        "/data", ("configmaps",), matchConditions=[{"name": "bad", "expression": "... [] bad expression"}]
    )
    body = {
        "apiVersion": f"{GROUP}/v1", "kind": f"{kind}WebhookConfiguration", "metadata": {"name": "broken"},
        "webhooks": [broken],
    }  # fmt: skip
    assert "compilation failed" in hooks.create(body)
    condition = {"name": "skip", "expression": "object.metadata.name != 'skip-me'"}
    path = "/mutate-data" if kind == "Mutating" else "/data"
    name = hooks.register(kind, hooks.hook(path, ("configmaps",), matchConditions=[condition]))
    stored = hooks.cluster.get(f"{kind.lower()}webhookconfiguration", name)
    assert stored["webhooks"][0]["matchConditions"] == [condition]
    data = {"mutation-start": "yes", **(BAD_DATA if kind == "Validating" else {})}
    assert "created" in hooks.create(hooks.config_map("skip-me", data))
    assert "mutation-stage-1" not in hooks.get("configmap", "skip-me")["data"]
    said = hooks.create(hooks.config_map("not-skipped", data))
    if kind == "Validating":
        assert "denied the request" in said
    else:
        assert "mutation-stage-1" in hooks.get("configmap", "not-skipped")["data"]


def test_a_validating_policy_judges_and_is_type_checked(hooks: Webhooks) -> None:
    """ValidatingAdmissionPolicy: should validate against a Deployment; should type check validation expressions."""
    name = f"policy-{hooks.namespace}"
    rule = {"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}
    selector = {"matchLabels": {"kubernetes.io/metadata.name": hooks.namespace}}
    spec = {
        "matchConstraints": {"resourceRules": [rule], "namespaceSelector": selector},
        "variables": [{"name": "replicas", "expression": "object.spec.replicas"}],
        "validations": [
            {
                "expression": "variables.replicas > 1",
                "messageExpression": "'wants more than ' + string(variables.replicas)",
            },
            {"expression": "object.spec.replicas > '1'"},
        ],
    }
    policy = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }
    binding = {
        "apiVersion": f"{GROUP}/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }  # fmt: skip
    hooks.cluster.apply(policy, binding)
    try:
        checked = wait_until(
            "the policy is type checked",
            lambda: hooks.cluster.get("validatingadmissionpolicy", name).get("status", {}).get("typeChecking"),
        )
        warnings = checked["expressionWarnings"]
        assert [item["fieldRef"] for item in warnings] == ["spec.validations[1].expression"]
        assert "found no matching overload for '_>_' applied to '(int, string)'" in warnings[0]["warning"]
        said = hooks.cluster.kubectl(
            "create", "deployment", "small", "--image=x", "--replicas=1", "-n", hooks.namespace, check=False
        )
        assert f"ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request: wants more than 1" in said
    finally:
        hooks.cluster.kubectl("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", name)


def test_a_mutating_policy_adds_annotations(hooks: Webhooks) -> None:
    """MutatingAdmissionPolicy: should mutate a Deployment with annotations."""
    name = f"annotate-{hooks.namespace}"
    rule = {"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}
    annotations = 'Object.metadata{annotations: {"example.com/team": "web", "my-foo-annotation": "myAnnotationValue"}}'
    spec = {
        "matchConstraints": {
            "resourceRules": [rule],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": hooks.namespace}},
        },
        "reinvocationPolicy": "Never",
        "mutations": [
            {
                "patchType": "ApplyConfiguration",
                "applyConfiguration": {"expression": f"Object{{metadata: {annotations}}}"},
            }
        ],
    }
    head = {"apiVersion": f"{GROUP}/v1", "metadata": {"name": name}}
    hooks.cluster.apply(
        {**head, "kind": "MutatingAdmissionPolicy", "spec": spec},
        {**head, "kind": "MutatingAdmissionPolicyBinding", "spec": {"policyName": name}},
    )
    meta = {"name": "annotated", "annotations": {"own": "kept"}}
    container = {"name": "c", "image": IMAGE}
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [container]}}
    deployment = {"replicas": 0, "selector": {"matchLabels": {"app": "a"}}, "template": template}
    try:
        hooks.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": deployment})
        found = hooks.get("deployment", "annotated")["metadata"]["annotations"]
        wanted = {"own": "kept", "example.com/team": "web", "my-foo-annotation": "myAnnotationValue"}
        assert wanted.items() <= found.items()
    finally:
        hooks.cluster.kubectl("delete", "mutatingadmissionpolicybinding,mutatingadmissionpolicy", name)
        hooks.cluster.kubectl("delete", "deployment", "annotated", "-n", hooks.namespace)


def test_a_mutating_policy_changes_deployments_by_its_parameters(hooks: Webhooks) -> None:
    """MutatingAdmissionPolicy: should mutate a Deployment; by an apply configuration and by a JSON patch."""
    name = f"policy-{hooks.namespace}"
    rule = {"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}
    selector = {"matchLabels": {"kubernetes.io/metadata.name": hooks.namespace}}
    spec = {
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConstraints": {"resourceRules": [rule], "namespaceSelector": selector},
        "variables": [{"name": "wanted", "expression": "int(params.data.replicas)"}],
        "matchConditions": [{"name": "asked", "expression": "object.metadata.name.startsWith('mutated')"}],
        "reinvocationPolicy": "Never",
        "mutations": [
            {
                "patchType": "ApplyConfiguration",
                "applyConfiguration": {"expression": "Object{spec: Object.spec{replicas: variables.wanted}}"},
            },
            {
                "patchType": "JSONPatch",
                "jsonPatch": {
                    "expression": "[JSONPatch{op: 'add', path: '/metadata/labels/replicas', "
                    "value: string(object.spec.replicas)}]"
                },
            },
        ],
    }
    reference = {"name": "params", "namespace": hooks.namespace, "parameterNotFoundAction": "Deny"}
    hooks.create(hooks.config_map("params", {"replicas": "0"}))
    hooks.cluster.apply(
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": "MutatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": spec,
        },
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name, "paramRef": reference},
        },
    )
    try:
        for called in ("mutated", "plain"):
            hooks.cluster.kubectl(
                "create", "deployment", called, "--image=x", "--replicas=1", "-n", hooks.namespace, "--dry-run=server"
            )
            hooks.cluster.kubectl("create", "deployment", called, "--image=x", "--replicas=1", "-n", hooks.namespace)
        mutated, plain = hooks.get("deployment", "mutated"), hooks.get("deployment", "plain")
        assert (mutated["spec"]["replicas"], mutated["metadata"]["labels"]["replicas"]) == (0, "0")
        assert plain["spec"]["replicas"] == 1 and "replicas" not in plain["metadata"]["labels"]
    finally:
        hooks.cluster.kubectl("delete", "mutatingadmissionpolicybinding,mutatingadmissionpolicy", name)
        hooks.cluster.kubectl("delete", "deployment", "mutated", "plain", "-n", hooks.namespace)
