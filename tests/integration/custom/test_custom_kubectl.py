"""Custom kinds with kubectl: definitions in the shape of well-known projects, and all that works for built-in kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from known_shapes import anything, certificates, service_monitors, workflows
from kubectl_command import Kubectl
from mesh_shapes import gateways, http_routes, virtual_services

CERTIFICATE = {
    "apiVersion": "cert-manager.io/v1",
    "kind": "Certificate",
    "metadata": {"name": "web"},
    "spec": {"secretName": "tls", "issuerRef": {"name": "ca"}, "dnsNames": ["a.example.com"], "privateKey": {}},
}
MONITOR = {
    "apiVersion": "monitoring.coreos.com/v1",
    "kind": "ServiceMonitor",
    "metadata": {"name": "web"},
    "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "endpoints": [{"targetPort": 80, "interval": "30s", "relabelings": [{"targetLabel": "b"}]}],
    },
}
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "w"},
    "spec": {"storageClassName": "s"},
}
WORKFLOW = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Workflow",
    "metadata": {"name": "hello"},
    "spec": {
        "entrypoint": "main",
        "templates": [{"name": "main", "container": {"name": "c", "image": "i", "ports": [{"containerPort": 80}]}}],
        "volumeClaimTemplates": [CLAIM],
    },
}
GATEWAY = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "edge"},
    "spec": {
        "gatewayClassName": "c",
        "listeners": [
            {"name": "http", "port": 80, "protocol": "HTTP"},
            {"name": "https", "port": 443, "protocol": "HTTPS", "hostname": "*.example.com",
             "tls": {"certificateRefs": [{"kind": "Secret", "name": "tls"}]}},
        ],
    },
}  # fmt: skip
ROUTE = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": "shop"},
    "spec": {
        "parentRefs": [{"name": "edge"}],
        "hostnames": ["shop.example.com"],
        "rules": [
            {"matches": [{"path": {"value": "/cart"}, "method": "GET"}],
             "filters": [{"type": "URLRewrite", "urlRewrite": {"hostname": "cart.example.com"}}],
             "backendRefs": [{"name": "cart", "port": 80}]},
            {"backendRefs": [{"name": "web", "port": 80, "weight": 9}]},
        ],
    },
}  # fmt: skip
VIRTUAL = {
    "apiVersion": "networking.mesh.example.com/v1",
    "kind": "VirtualService",
    "metadata": {"name": "reviews"},
    "spec": {
        "hosts": ["reviews"],
        "http": [{"match": [{"uri": {"prefix": "/a"}}], "route": [{"destination": {"host": "r", "subset": "v2"}}]}],
    },
}
Shape = tuple[Callable[[], dict[str, Any]], dict[str, Any], str, tuple[str, str]]
SHAPES: dict[str, Shape] = {
    "certificates": (certificates, CERTIFICATE, "certificate.spec.privateKey.rotationPolicy", ("certs", "READY")),
    "service monitors": (service_monitors, MONITOR, "servicemonitor.spec.endpoints.tlsConfig", ("smon", "AGE")),
    "gateways": (gateways, GATEWAY, "gateway.spec.listeners.tls.certificateRefs", ("gtw", "CLASS")),
    "routes": (http_routes, ROUTE, "httproute.spec.rules.filters.requestMirror", ("httproutes", "AGE")),
    "virtual services": (virtual_services, VIRTUAL, "virtualservice.spec.http.fault.delay", ("vs", "HOSTS")),
    "workflows": (workflows, WORKFLOW, "workflow.spec.templates.dag.tasks.arguments", ("wf", "STATUS")),
}


@pytest.mark.parametrize("name", SHAPES)
def test_definitions_of_well_known_shape(kubectl: Kubectl, name: str) -> None:
    definition, obj, field, (short, column) = SHAPES[name]
    kubectl("create", "-f", "-", stdin=definition())
    kubectl("apply", "-f", "-", stdin=obj)  # at once: discovery and OpenAPI know the kind, and validate
    assert column in kubectl("get", short).splitlines()[0]
    assert f"FIELD: {field.rpartition('.')[2]}" in kubectl("explain", field)
    assert "unknown field" in kubectl(
        "apply", "-f", "-", stdin={**obj, "spec": {**obj["spec"], "colour": "red"}}, fails=True
    )
    kubectl("diff", "-f", "-", stdin=kubectl.get(short, obj["metadata"]["name"]))
    kubectl("label", short, obj["metadata"]["name"], "a=b")
    assert kubectl("get", short, "-l", "a=b", "-o", "name").count("/") == 1
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=obj)
    kubectl("delete", short, obj["metadata"]["name"])


def test_defaults_rules_and_selectors_of_a_large_schema(kubectl: Kubectl) -> None:
    made = {**CERTIFICATE, "metadata": {"name": "ruled"}}
    kubectl("apply", "-f", "-", stdin=made)
    assert kubectl.get("cert", "ruled")["spec"]["privateKey"] == {"rotationPolicy": "Always"}
    assert "certificate.cert-manager.io/ruled" in kubectl(
        "get", "certs", "--field-selector", "spec.issuerRef.name=ca", "-o", "name"
    )
    refused = {**made, "metadata": {"name": "nameless"}, "spec": {"secretName": "s", "issuerRef": {"name": "ca"}}}
    assert "a name is needed" in kubectl("apply", "-f", "-", stdin=refused, fails=True)
    assert kubectl.get("certificates.v1beta1.cert-manager.io", "ruled")["apiVersion"] == "cert-manager.io/v1beta1"


def changed(obj: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {**obj, "metadata": {"name": "broken"}, "spec": {**obj["spec"], **spec}}


REDIRECT = {"type": "RequestRedirect", "requestRedirect": {"statusCode": 302}}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a listener twice": (
        changed(GATEWAY, listeners=[{"name": "a", "port": 80, "protocol": "HTTP"},
                                    {"name": "b", "port": 80, "protocol": "HTTP"}]),
        "port, protocol and hostname are used once"),
    "tls without certificates": (
        changed(GATEWAY, listeners=[{"name": "a", "port": 443, "protocol": "HTTPS", "tls": {}}]),
        "certificates or options are needed to terminate TLS"),
    "tls for plain HTTP": (
        changed(GATEWAY, listeners=[{**GATEWAY["spec"]["listeners"][1], "protocol": "HTTP"}]),  # type: ignore[index]
        "tls needs another protocol"),
    "a part of another type": (
        changed(ROUTE, rules=[{"filters": [{**REDIRECT, "urlRewrite": {}}]}]), "urlRewrite belongs to type URLRewrite"),
    "a redirect with backends": (
        changed(ROUTE, rules=[{"filters": [REDIRECT], "backendRefs": [{"name": "a", "port": 1}]}]),
        "a redirect has no backends"),
    "a backend without a port": (changed(ROUTE, rules=[{"backendRefs": [{"name": "a"}]}]), "a Service needs a port"),
    "a path with //": (changed(ROUTE, rules=[{"matches": [{"path": {"value": "/a//b"}}]}]), "paths have no //"),
    "two of one": (
        changed(VIRTUAL, http=[{"match": [{"uri": {"prefix": "/a", "exact": "/b"}}]}]),
        '"spec.http[0].match[0].uri" must validate one and only one schema (oneOf). Found 2 valid alternatives'),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_rules_of_gateways_routes_and_meshes(kubectl: Kubectl, name: str) -> None:
    obj, text = REFUSED[name]
    assert text in kubectl("apply", "-f", "-", stdin=obj, fails=True)


def test_defaults_and_versions_of_gateways_routes_and_meshes(kubectl: Kubectl) -> None:
    for obj in (GATEWAY, ROUTE, VIRTUAL):
        kubectl("apply", "-f", "-", stdin={**obj, "metadata": {"name": "kept"}})
    route = kubectl.get("httproutes", "kept")["spec"]["rules"]
    assert route[0]["matches"][0]["path"] == {"type": "PathPrefix", "value": "/cart"}
    assert route[1]["matches"] == [{"path": {"type": "PathPrefix", "value": "/"}}]
    assert route[1]["backendRefs"] == [{"name": "web", "port": 80, "weight": 9, "group": "", "kind": "Service"}]
    gateway = kubectl.get("gateways.v1beta1.gateway.networking.k8s.io", "kept")
    assert gateway["spec"]["listeners"][0]["allowedRoutes"] == {"namespaces": {"from": "Same"}}
    assert gateway["status"]["conditions"][0]["reason"] == "Pending"
    for number in ("v1", "v1alpha3", "v1beta1"):
        found = kubectl.get(f"virtualservices.{number}.networking.mesh.example.com", "kept")
        assert (found["apiVersion"], found["spec"]) == (f"networking.mesh.example.com/{number}", VIRTUAL["spec"])


def test_a_root_that_keeps_unknown_fields_is_validated_and_scaled(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=anything())
    thing = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}, "other": {"a": [1]}}
    kubectl("apply", "-f", "-", stdin=thing)
    assert kubectl.get("thing", "t")["other"] == {"a": [1]}
    kubectl("scale", "thing", "t", "--replicas=3")
    assert kubectl.get("thing", "t")["spec"]["replicas"] == 3
    assert "3" in kubectl("get", "--raw", "/apis/example.com/v1/namespaces/default/things/t/scale")
    kubectl("patch", "thing", "t", "--subresource=status", "--type=merge", "-p", '{"status":{"replicas":2}}')
    assert kubectl.get("thing", "t")["status"] == {"replicas": 2}
    kubectl("wait", "thing/t", "--for=jsonpath={.status.replicas}=2", "--timeout=60s")


def test_quota_garbage_collection_and_namespaces_know_custom_kinds(kubectl: Kubectl) -> None:
    kubectl("create", "namespace", "q")
    kubectl("-n", "q", "create", "quota", "q", "--hard=count/things.example.com=1")
    kubectl.until("quota is counted", lambda: kubectl.get("-n", "q", "quota", "q").get("status"))
    thing = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "owner", "namespace": "q"}}
    kubectl("create", "-f", "-", stdin=thing)
    second = {**thing, "metadata": {"name": "second", "namespace": "q", "finalizers": []}}
    assert "exceeded quota" in kubectl("create", "-f", "-", stdin=second, fails=True)
    uid = kubectl.get("-n", "q", "thing", "owner")["metadata"]["uid"]
    owner = {"apiVersion": "example.com/v1", "kind": "Thing", "name": "owner", "uid": uid}
    child = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "kid", "namespace": "q", "ownerReferences": [owner]},
    }
    kubectl("create", "-f", "-", stdin=child)
    kubectl("-n", "q", "delete", "thing", "owner")
    kubectl.until("the child is collected", lambda: not kubectl("-n", "q", "get", "cm", "kid", "--ignore-not-found"))
    kubectl.until(
        "the quota is free",
        lambda: kubectl.get("-n", "q", "quota", "q")["status"]["used"]["count/things.example.com"] == "0",
    )
    kubectl("create", "-f", "-", stdin=second)
    kubectl("delete", "namespace", "q", "--timeout=60s")
    assert kubectl("get", "things", "-A", "--field-selector=metadata.namespace=q", "-o", "name") == ""


def test_a_terminating_definition_does_not_hold_up_others(kubectl: Kubectl) -> None:
    stuck = anything()
    stuck["spec"]["names"] = {"kind": "Stuck", "plural": "stucks", "singular": "stuck", "listKind": "StuckList"}
    stuck["metadata"]["name"] = "stucks.example.com"
    kubectl("create", "-f", "-", stdin=stuck)
    obj = {
        "apiVersion": "example.com/v1",
        "kind": "Stuck",
        "metadata": {"name": "s", "finalizers": ["x.example.com/y"]},
    }
    kubectl("create", "-f", "-", stdin=obj)
    kubectl("delete", "crd", "stucks.example.com", "--wait=false")
    other = anything()
    other["spec"]["names"] = {"kind": "Free", "plural": "frees", "singular": "free", "listKind": "FreeList"}
    other["metadata"]["name"] = "frees.example.com"
    kubectl("create", "-f", "-", stdin=other)
    kubectl("wait", "crd/frees.example.com", "--for=condition=Established", "--timeout=30s")
    assert kubectl("get", "stuck", "s", "-o", "name").strip() == "stuck.example.com/s"
    kubectl("patch", "stuck", "s", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    kubectl("wait", "crd/stucks.example.com", "--for=delete", "--timeout=60s")
    kubectl("delete", "crd", "frees.example.com")
