"""Webhooks that really are called: what they are asked, what their answers do, and what their failures mean."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
from admission_cluster import Cluster, patch_of, reviewed
from aiohttp import web

from minikube_py.client.types import DeleteOptions, PatchType, WriteOptions
from minikube_py.components.apiserver.admission.configuration import read_admission_configuration
from minikube_py.components.apiserver.admission.dynamic import build_dynamic_admission
from minikube_py.components.apiserver.admission.webhooks.hooks import MUTATING, VALIDATING, Address
from minikube_py.components.apiserver.authorization.union import AlwaysAllow
from minikube_py.components.apiserver.http.connecting import connect_options
from minikube_py.components.apiserver.registry.core import admission_request
from minikube_py.components.apiserver.types import Operation, RequestContext
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    NAMESPACES,
    PODS,
    SERVICES,
    Resource,
)

HPA_V1 = Resource("autoscaling", "v1", "horizontalpodautoscalers", "HorizontalPodAutoscaler")


def config_map(name: str = "cm", **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **fields}


async def create(cluster: Cluster, name: str = "cm", namespace: str = "ns", **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = await cluster.client.create(CONFIG_MAPS, config_map(name, **fields), namespace)
    return found


async def refused(cluster: Cluster, name: str = "cm", **fields: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await create(cluster, name, **fields)
    return caught.value


async def test_what_a_webhook_is_asked(cluster: Cluster) -> None:
    cluster.always()
    await cluster.register(cluster.webhook())
    await cluster.client.create(
        CONFIG_MAPS, config_map(data={"a": "1"}), "ns", options=WriteOptions(field_manager="me", dry_run=True)
    )
    review = cluster.reviews[0]
    request = review["request"]
    obj = request.pop("object")
    assert obj["kind"] == "ConfigMap" and obj["apiVersion"] == "v1" and obj["data"] == {"a": "1"}
    assert obj["metadata"]["namespace"] == "ns" and obj["metadata"]["managedFields"][0]["manager"] == "me"
    assert (review["kind"], review["apiVersion"]) == ("AdmissionReview", "admission.k8s.io/v1")
    assert len(request.pop("uid")) == 36
    assert request == {
        "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "resource": {"group": "", "version": "v1", "resource": "configmaps"},
        "requestKind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "requestResource": {"group": "", "version": "v1", "resource": "configmaps"},
        "name": "cm",
        "namespace": "ns",
        "operation": "CREATE",
        "userInfo": {
            "username": "alice",
            "uid": "u-1",
            "groups": ["system:masters", "system:authenticated"],
            "extra": {"team": ["a", "b"]},
        },
        "oldObject": None,
        "dryRun": True,
        "options": {
            "kind": "CreateOptions",
            "apiVersion": "meta.k8s.io/v1",
            "dryRun": ["All"],
            "fieldManager": "me",
            "fieldValidation": "Ignore",
        },
    }


async def test_deletions_show_the_old_object_and_the_options(cluster: Cluster) -> None:
    cluster.always()
    await create(cluster)
    await cluster.register(cluster.webhook())
    await cluster.client.delete(CONFIG_MAPS, "cm", "ns", options=DeleteOptions(grace_period_seconds=3))
    request = cluster.reviews[0]["request"]
    assert request["operation"] == "DELETE" and request["object"] is None
    assert request["oldObject"]["metadata"]["name"] == "cm"
    assert request["options"] == {
        "kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "gracePeriodSeconds": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("response", "code", "reason", "message"),
    [
        ({}, 400, "", 'admission webhook "a.example.com" denied the request without explanation'),
        ({"status": {"message": "no"}}, 400, "", 'admission webhook "a.example.com" denied the request: no'),
        ({"status": {"reason": "Because"}}, 400, "Because",
         'admission webhook "a.example.com" denied the request: Because'),
        ({"status": {"code": 409, "message": "x", "reason": "Conflict"}}, 409, "Conflict",
         'admission webhook "a.example.com" denied the request: x'),
        ({"status": {"code": 200, "message": "x"}}, 400, "", 'admission webhook "a.example.com" denied the request: x'),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mutating", [False, True])
async def test_a_refusal_is_told(
    cluster: Cluster, mutating: bool, response: dict[str, Any], code: int, reason: str, message: str
) -> None:
    cluster.always(allowed=False, **response)
    await cluster.register(cluster.webhook(), mutating=mutating)
    error = await refused(cluster)
    assert (error.code, error.reason, error.message) == (code, reason, message)


async def test_warnings_and_audit_annotations_reach_the_request(cluster: Cluster) -> None:
    cluster.always(warnings=["careful"], auditAnnotations={"k": "v"})
    await cluster.register(cluster.webhook())
    chain = cluster.api.core.admission
    seen: list[Any] = []

    class Watching:
        async def admit(self, request: Any) -> None:
            await chain.admit(request)

        async def validate(self, request: Any) -> None:
            await chain.validate(request)
            seen.append(request)

    cluster.api.core.admission = Watching()
    await create(cluster)
    assert seen[-1].warnings == ["careful"]
    assert seen[-1].audit_annotations == {"a.example.com/k": "v"}


async def test_audit_annotations_tell_of_patches(cluster: Cluster) -> None:
    cluster.always(**patch_of({"value": {"k": "<1>"}, "path": "/data", "op": "add"}))
    await cluster.register(cluster.webhook(), mutating=True, name="changes")
    draft = config_map()
    kind = cluster.api.kinds.of(CONFIG_MAPS)
    context = RequestContext(user=cluster.user)
    request = admission_request(context, kind, Operation.CREATE, namespace="ns", name="cm", draft=draft, old=None)
    await cluster.api.core.admission.admit(request)
    told = '"configuration":"changes","webhook":"a.example.com"'
    assert context.audit_annotations == {
        "mutation.webhook.admission.k8s.io/round_0_index_0": f'{{{told},"mutated":true}}',
        "patch.webhook.admission.k8s.io/round_0_index_0": f'{{{told},"patch":[{{"op":"add","path":"/data",'
        '"value":{"k":"\\u003c1\\u003e"}}],"patchType":"JSONPatch"}',
    }


async def test_patches_change_what_is_stored_and_defaults_follow(cluster: Cluster) -> None:
    added = {"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "side", "image": "s"}}
    cluster.always(**patch_of(added))
    rule = {"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}
    await cluster.register(cluster.webhook(rules=[rule]), mutating=True)
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    stored = await cluster.client.create(
        DEPLOYMENTS,
        {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}},
        "ns",
    )
    side = stored["spec"]["template"]["spec"]["containers"][1]
    assert side["name"] == "side" and side["terminationMessagePolicy"] == "File"


async def test_webhooks_run_in_order_and_again_when_they_want_to(cluster: Cluster) -> None:
    calls: list[str] = []

    def counting(path: str, **response: Any) -> None:
        async def handler(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            calls.append(f"{path}:{sorted(body['request']['object'].get('data') or {})}")
            return reviewed(body, **response)

        cluster.handlers[path] = handler

    counting("/first", **patch_of({"op": "add", "path": "/data", "value": {"first": "1"}}))
    counting("/second", **patch_of({"op": "add", "path": "/data/second", "value": "2"}))
    counting("/third")
    await cluster.register(
        cluster.webhook("first.example.com", "/first", reinvocationPolicy="IfNeeded"),
        cluster.webhook("second.example.com", "/second"),
        cluster.webhook("third.example.com", "/third", reinvocationPolicy="IfNeeded"),
        mutating=True,
    )
    stored = await create(cluster)
    assert calls == [
        "/first:[]",
        "/second:['first']",
        "/third:['first', 'second']",
        "/first:['first', 'second']",
        "/third:['first']",
    ]
    assert stored["data"] == {"first": "1"}  # the first one replaced all of it in the second round


async def test_labels_names_and_rules_choose(cluster: Cluster) -> None:
    cluster.always(allowed=False)
    only = {"namespaceSelector": {"matchLabels": {"kind": "other"}}}
    await cluster.register(cluster.webhook(**only), name="by-namespace")
    await create(cluster)
    with pytest.raises(ApiError):
        await create(cluster, namespace="other")
    await cluster.client.delete(VALIDATING, "by-namespace")
    await cluster.register(cluster.webhook(objectSelector={"matchLabels": {"x": "y"}}), name="by-label")
    await create(cluster, "plain")
    labelled = config_map("labelled")
    labelled["metadata"]["labels"] = {"x": "y"}
    with pytest.raises(ApiError):
        await cluster.client.create(CONFIG_MAPS, labelled, "ns")
    # the old object's labels count as well
    await cluster.client.delete(VALIDATING, "by-label")
    await cluster.client.create(CONFIG_MAPS, labelled, "ns")
    await cluster.register(cluster.webhook(objectSelector={"matchLabels": {"x": "y"}}), name="by-label")
    with pytest.raises(ApiError):
        await cluster.client.patch(CONFIG_MAPS, "labelled", {"metadata": {"labels": {"x": None}}}, "ns")


async def test_namespace_selectors_look_at_the_namespace_that_is_written(cluster: Cluster) -> None:
    cluster.always(allowed=False)
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["namespaces"]}
    await cluster.register(cluster.webhook(rules=[rule], namespaceSelector={"matchLabels": {"k": "v"}}))
    await cluster.client.create(NAMESPACES, {"metadata": {"name": "fine"}})
    with pytest.raises(ApiError):
        await cluster.client.create(NAMESPACES, {"metadata": {"name": "bad", "labels": {"k": "v"}}})
    assert cluster.reviews[0]["request"]["namespace"] == "bad"


async def test_equivalent_versions_are_converted_both_ways(cluster: Cluster) -> None:
    cluster.always(**patch_of({"op": "add", "path": "/spec/targetCPUUtilizationPercentage", "value": 55}))
    rule = {
        "operations": ["CREATE"], "apiGroups": ["autoscaling"], "apiVersions": ["v1"],
        "resources": ["horizontalpodautoscalers"],
    }  # fmt: skip
    hpa_v2 = Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
    body = {
        "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}},
    }
    await cluster.register(cluster.webhook(rules=[rule]), mutating=True)
    stored = await cluster.client.create(hpa_v2, body, "ns")
    request = cluster.reviews[0]["request"]
    assert request["kind"]["version"] == "v1" and request["requestKind"]["version"] == "v2"
    assert request["object"]["apiVersion"] == "autoscaling/v1"
    assert stored["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 55
    await cluster.client.delete(MUTATING, "hooks")
    await cluster.register(cluster.webhook(rules=[rule], matchPolicy="Exact"), mutating=True)
    await cluster.client.create(hpa_v2, {**body, "metadata": {"name": "exact"}}, "ns")
    assert len(cluster.reviews) == 1


async def test_scale_is_seen_and_changed_as_a_scale(cluster: Cluster) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    await cluster.client.create(DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": spec}, "ns")
    cluster.always(**patch_of({"op": "replace", "path": "/spec/replicas", "value": 4}))
    rule = {
        "operations": ["UPDATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments/scale"],
    }  # fmt: skip
    await cluster.register(cluster.webhook(rules=[rule]), mutating=True)
    await cluster.client.patch(
        DEPLOYMENTS, "d", {"spec": {"replicas": 9}}, "ns", patch_type=PatchType.MERGE, subresource="scale"
    )
    request = cluster.reviews[0]["request"]
    assert request["kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert request["subResource"] == request["requestSubResource"] == "scale"
    assert request["object"]["spec"] == {"replicas": 9}
    assert (await cluster.client.get(DEPLOYMENTS, "d", "ns"))["spec"]["replicas"] == 4


@pytest.mark.parametrize("effects", ["None", "NoneOnDryRun"])
async def test_dry_runs_call_webhooks_without_side_effects(cluster: Cluster, effects: str) -> None:
    cluster.always()
    await cluster.register(cluster.webhook(sideEffects=effects))
    await cluster.client.create(CONFIG_MAPS, config_map(), "ns", options=WriteOptions(dry_run=True))
    assert cluster.reviews[0]["request"]["dryRun"] is True


async def test_match_conditions_choose_and_fail_as_the_policy_says(cluster: Cluster) -> None:
    cluster.always(allowed=False)

    def condition(expression: str) -> dict[str, Any]:
        return {"matchConditions": [{"name": "c", "expression": expression}]}

    await cluster.register(cluster.webhook(**condition("request.userInfo.username != 'alice'")), name="others")
    await create(cluster, "free")
    await cluster.register(
        cluster.webhook(**condition("authorizer.group('').resource('secrets').namespace('ns').check('get').allowed()")),
        name="may",
    )
    assert "denied the request" in (await refused(cluster)).message
    await cluster.client.delete(VALIDATING, "may")
    await cluster.register(cluster.webhook(**condition("object.data.missing == 'x'")), name="broken")
    error = await refused(cluster)
    assert (error.code, error.message) == (
        403,
        "configmaps \"cm\" is forbidden: expression 'object.data.missing == 'x'' resulted in error: no such key: data",
    )
    await cluster.client.delete(VALIDATING, "broken")
    await cluster.register(cluster.webhook(**condition("object.data.missing == 'x'"), failurePolicy="Ignore"))
    await create(cluster)


async def test_the_configuration_of_admission_is_never_intercepted(cluster: Cluster) -> None:
    cluster.always(allowed=False)
    everything = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}
    await cluster.register(cluster.webhook(rules=[everything]))
    await cluster.client.patch(VALIDATING, "hooks", {"metadata": {"labels": {"a": "b"}}})
    with pytest.raises(ApiError):
        await create(cluster)
    await cluster.client.delete(VALIDATING, "hooks")
    await create(cluster)


async def _redirect(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": "https://127.0.0.1:1/"})


async def _text(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.Response(text="hello")


async def _broken(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.Response(status=500, text="boom")


async def _huge(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.Response(body=b" " * (4 << 20), content_type="application/json")


async def _other(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.json_response({"apiVersion": "v1", "kind": "Pod", "response": {"uid": body["request"]["uid"]}})


async def _empty(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.json_response({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"})


async def _liar(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return reviewed(body, uid="other")


async def _patches(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return reviewed(body, **patch_of({"op": "add", "path": "/data", "value": {}}))


async def _untyped(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    response = patch_of({"op": "add", "path": "/data", "value": {}})
    del response["patchType"]
    return reviewed(body, **response)


async def _undecodable(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return reviewed(body, patch=base64.b64encode(b"{}").decode(), patchType="JSONPatch")


async def _no_operation(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return reviewed(body, patch=base64.b64encode(b"[7]").decode(), patchType="JSONPatch")


async def _cuts(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def _status(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.json_response(
        {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "not today"}, status=503
    )


FAULTS = [
    ("redirect", _redirect, False, "failed to call webhook: the server responded with the status code 302 but did not "
     "return more information"),
    ("text", _text, False, "failed to call webhook: couldn't get version/kind; json parse error: invalid character 'h' "
     "looking for beginning of value"),
    ("error", _broken, False, 'failed to call webhook: an error on the server ("boom") has prevented the request from '
     "succeeding"),
    ("status", _status, False, "failed to call webhook: not today"),
    ("huge", _huge, False, "failed to call webhook: the response is larger than 3145728 bytes"),
    ("kind", _other, False, "received invalid webhook response: expected webhook response of admission.k8s.io/v1, "
     "Kind=AdmissionReview, got /v1, Kind=Pod"),
    ("empty", _empty, False, "received invalid webhook response: webhook response was absent"),
    ("liar", _liar, False, 'received invalid webhook response: expected response.uid="UID", got "other"'),
    ("patches", _patches, False, "received invalid webhook response: validating webhook may not return response.patch"),
    ("untyped", _untyped, True, "received invalid webhook response: webhook returned response.patch but not "
     "response.patchType"),
    ("undecodable", _undecodable, True, "received undecodable patch in webhook response: json: cannot unmarshal object "
     "into Go value of type jsonpatch.Patch"),
    ("no operation", _no_operation, True, "received undecodable patch in webhook response: json: cannot unmarshal "
     "number into Go value of type jsonpatch.Operation"),
    ("cuts", _cuts, False, 'failed to call webhook: Post "URL?timeout=10s": EOF'),
]  # fmt: skip


@pytest.mark.parametrize(("name", "handler", "mutating", "why"), FAULTS, ids=[fault[0] for fault in FAULTS])
async def test_faults(cluster: Cluster, name: str, handler: Any, mutating: bool, why: str) -> None:
    cluster.handlers["/hook"] = handler
    await cluster.register(cluster.webhook(), mutating=mutating)
    error = await refused(cluster)
    uid = cluster.reviews[0]["request"]["uid"]
    expected = why.replace("UID", uid).replace("URL", cluster.url("/hook"))
    assert error.message == f'Internal error occurred: failed calling webhook "a.example.com": {expected}'
    assert (error.code, error.reason) == (500, "InternalError")
    resource = MUTATING if mutating else VALIDATING
    await cluster.client.patch(
        resource, "hooks", [{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}],
        patch_type=PatchType.JSON,
    )  # fmt: skip
    await create(cluster)


async def test_a_webhook_that_hangs_is_given_up(cluster: Cluster) -> None:
    async def hang(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    cluster.handlers["/hook"] = hang
    await cluster.register(cluster.webhook(timeoutSeconds=1))
    error = await refused(cluster)
    assert error.message == (
        'Internal error occurred: failed calling webhook "a.example.com": failed to call webhook: '
        f'Post "{cluster.url("/hook")}?timeout=1s": context deadline exceeded'
    )


async def test_nobody_listens_or_the_certificate_is_wrong(cluster: Cluster) -> None:
    closed = {"url": "https://127.0.0.1:1/", "caBundle": cluster.ca_bundle}
    await cluster.register(cluster.webhook(clientConfig=closed))
    assert (await refused(cluster)).message.endswith(
        'Post "https://127.0.0.1:1/?timeout=10s": dial tcp 127.0.0.1:1: connect: connection refused'
    )
    await cluster.client.delete(VALIDATING, "hooks")
    await cluster.register(cluster.webhook(clientConfig={"url": cluster.url("/hook")}))
    assert (await refused(cluster)).message.endswith(
        "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    )


async def test_a_service_is_reached_at_its_endpoints_under_its_own_name(cluster: Cluster) -> None:
    cluster.always(allowed=False, status={"message": "reached"})
    service = {"namespace": "ns", "name": "hook", "path": "/hook"}
    await cluster.register(cluster.webhook(clientConfig={"service": service, "caBundle": cluster.ca_bundle}))
    url = 'failed to call webhook: Post "https://hook.ns.svc:443/hook?timeout=10s": '
    assert (await refused(cluster)).message.endswith(f'{url}service "hook" not found')
    body = {"metadata": {"name": "hook"}, "spec": {"ports": [{"name": "https", "port": 443}]}}
    await cluster.client.create(SERVICES, body, "ns")
    assert (await refused(cluster)).message.endswith(f'{url}no endpoints available for service "hook"')
    slice_ = {
        "metadata": {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}},
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": cluster.port, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
    }
    # the validation of EndpointSlices refuses loopback addresses, so the slice goes in below it
    kind = cluster.api.kinds.of(ENDPOINT_SLICES)
    slice_["metadata"] |= {"namespace": "ns", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}  # type: ignore[operator]
    await cluster.api.core.write(kind, {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", **slice_}, None)
    assert (await refused(cluster)).message == 'admission webhook "a.example.com" denied the request: reached'


async def test_all_validating_webhooks_are_asked_at_once_and_the_first_refusal_is_told(cluster: Cluster) -> None:
    together = asyncio.Barrier(2)

    def meeting(path: str, message: str) -> None:
        async def handler(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            async with asyncio.timeout(30):
                await together.wait()
            return reviewed(body, allowed=False, status={"message": message})

        cluster.handlers[path] = handler

    meeting("/a", "first")
    meeting("/b", "second")
    await cluster.register(cluster.webhook("a.example.com", "/a"), cluster.webhook("b.example.com", "/b"))
    assert (await refused(cluster)).message.endswith("denied the request: first")


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ({"op": "remove", "path": "/nope"},
         "error in remove for path: '/nope': Unable to remove nonexistent key: nope: missing value"),
        ({"op": "replace", "path": "/nope", "value": 1},
         "replace operation does not apply: doc is missing key: /nope: missing value"),
        ({"op": "add", "path": "/a/b", "value": 1},
         'add operation does not apply: doc is missing path: "/a/b": missing value'),
        ({"op": "test", "path": "/kind", "value": "Pod"}, "testing value /kind failed: test failed"),
        ({"op": "add", "path": "/data", "value": {"a": 1}},
         "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"),
    ],
)  # fmt: skip
async def test_a_patch_that_does_not_fit(cluster: Cluster, operation: dict[str, Any], message: str) -> None:
    cluster.always(**patch_of(operation))
    await cluster.register(cluster.webhook(), mutating=True)
    assert (await refused(cluster)).message == f"Internal error occurred: {message}"


async def test_a_deletion_cannot_be_patched(cluster: Cluster) -> None:
    await create(cluster)
    cluster.always(**patch_of({"op": "add", "path": "/data", "value": {}}))
    await cluster.register(cluster.webhook(), mutating=True)
    with pytest.raises(ApiError, match="attempted to modify the object, which is not supported for this operation"):
        await cluster.client.delete(CONFIG_MAPS, "cm", "ns")


async def test_the_api_server_shows_the_certificate_of_its_kubeconfig(cluster: Cluster, tmp_path: Path) -> None:
    """``kubeConfigFile`` of one plugin in the file of ``--admission-control-config-file``."""
    admin, file = cluster.pki.client_admin, tmp_path / "admission.yaml"
    (tmp_path / "users").write_text(
        f"users:\n- name: '*.0.0.1:{cluster.port}'\n  user: {{client-certificate: {admin.certificate}, "
        f"client-key: {admin.key}}}\n"
    )
    file.write_text(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n"
        "- name: ValidatingAdmissionWebhook\n  configuration:\n    apiVersion: apiserver.config.k8s.io/v1\n"
        "    kind: WebhookAdmissionConfiguration\n    kubeConfigFile: users\n"
    )
    configured = await asyncio.to_thread(read_admission_configuration, file)
    dynamic = await asyncio.to_thread(
        build_dynamic_admission, cluster.client, cluster.api.kinds, AlwaysAllow(), configured
    )
    shown: list[Any] = []

    async def handler(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        assert request.transport is not None
        shown.append((request.transport.get_extra_info("peercert") or {}).get("subject"))
        return reviewed(body)

    cluster.handlers["/hook"] = handler
    ca = await asyncio.to_thread(cluster.pki.server_ca.certificate.read_bytes)
    for caller in dynamic.callers:  # the mutating plugin's, then the validating one's
        await caller.call(Address(cluster.url("/hook"), None, ca), {"request": {"uid": "u"}, "apiVersion": "v"}, 5)
    await dynamic.close()
    assert shown[0] is None and (("commonName", "system:admin"),) in shown[1]


async def test_a_webhook_may_not_write_what_a_client_may_not(cluster: Cluster) -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    rule = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods", "pods/status"]}
    cluster.always(
        **patch_of(
            {"op": "add", "path": "/status", "value": {"phase": "Running"}},
            {"op": "add", "path": "/spec/schedulerName", "value": "mine"},
        )
    )
    await cluster.register(cluster.webhook(rules=[rule]), mutating=True)
    stored = await cluster.client.create(PODS, pod, "ns")
    assert stored["status"]["phase"] == "Pending" and stored["spec"]["schedulerName"] == "mine"
    cluster.always(**patch_of({"op": "replace", "path": "/spec/containers/0/image", "value": "evil"}))
    changed = await cluster.client.patch(PODS, "p", {"status": {"message": "m"}}, "ns", subresource="status")
    assert changed["status"]["message"] == "m" and changed["spec"]["containers"][0]["image"] == "i"
    cluster.always(**patch_of({"op": "replace", "path": "/metadata/namespace", "value": "other"}))
    with pytest.raises(ApiError, match="the namespace of the provided object does not match"):
        await cluster.client.create(PODS, {**pod, "metadata": {"name": "q"}}, "ns")
    with pytest.raises(ApiError, match="the namespace of the provided object does not match"):
        await cluster.client.patch(PODS, "p", {"metadata": {"labels": {"a": "b"}}}, "ns")


async def test_spoilt_managed_fields_are_put_back(cluster: Cluster) -> None:
    cluster.always(**patch_of({"op": "replace", "path": "/metadata/managedFields/0/operation", "value": "Nonsense"}))
    await cluster.register(cluster.webhook(), mutating=True)
    stored = await create(cluster, data={"a": "1"})
    assert stored["metadata"]["managedFields"][0]["operation"] == "Update"


async def test_connections_are_admitted(cluster: Cluster) -> None:
    """exec, attach, portforward and proxy are asked about before anything is opened."""
    cluster.always(allowed=False, status={"message": "not in here"})
    rule = {"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/exec"]}
    await cluster.register(cluster.webhook(rules=[rule]))
    kind = cluster.api.kinds.of(PODS)
    options = connect_options(kind, "exec", "command=sh&command=-c&stdin=true&container=c", "/api/v1/x/exec")
    assert options == {
        "kind": "PodExecOptions", "apiVersion": "v1", "command": ["sh", "-c"], "stdin": True, "container": "c",
    }  # fmt: skip
    context = RequestContext(user=cluster.user)
    request = admission_request(
        context, kind, Operation.CONNECT, namespace="ns", name="p", draft=options, old=None, subresource="exec"
    )
    with pytest.raises(ApiError, match="not in here"):
        await cluster.api.core.let_in(request)
    asked = cluster.reviews[0]["request"]
    assert asked["kind"] == {"group": "", "version": "v1", "kind": "PodExecOptions"}
    assert asked["object"] == options and asked["options"] is None and asked["subResource"] == "exec"


async def test_a_configuration_that_cannot_be_read_stops_nobody(cluster: Cluster) -> None:
    """Somebody wrote it into the datastore past the API server."""
    cluster.always()
    broken = cluster.webhook(objectSelector={"matchExpressions": [{"key": "a", "operator": "Sideways"}]})
    body = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "broken", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "webhooks": [broken],
    }
    await cluster.api.core.write(cluster.api.kinds.of(VALIDATING), body, None)
    await cluster.register(cluster.webhook())
    await create(cluster)
    assert len(cluster.reviews) == 1


async def test_an_object_without_metadata_is_refused_not_stored(cluster: Cluster) -> None:
    cluster.always(**patch_of({"op": "remove", "path": "/metadata"}))
    await cluster.register(cluster.webhook(), mutating=True)
    assert "name or generateName is required" in (await refused(cluster)).message


async def test_a_kept_connection_that_went_stale_is_replaced(cluster: Cluster) -> None:
    connections: list[int] = []

    async def handler(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        assert request.transport is not None
        connections.append(id(request.transport))
        if len(connections) == 2:
            request.transport.close()
        return reviewed(body)

    cluster.handlers["/hook"] = handler
    await cluster.register(cluster.webhook())
    await create(cluster, "one")
    await create(cluster, "two")
    assert len(connections) == 3 and connections[0] == connections[1] != connections[2]


async def test_a_peer_that_never_shakes_hands_is_given_up(cluster: Cluster) -> None:
    ended = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    config = {"url": f"https://127.0.0.1:{port}/", "caBundle": cluster.ca_bundle}
    await cluster.register(cluster.webhook(clientConfig=config, timeoutSeconds=1))
    assert (await refused(cluster)).message.endswith('?timeout=1s": context deadline exceeded')
    ended.set()
    server.close()
    await server.wait_closed()


async def test_older_reviews_are_spoken_and_unknown_ones_are_not(cluster: Cluster) -> None:
    async def old(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        patch = patch_of({"op": "add", "path": "/data", "value": {"a": body["apiVersion"]}})["patch"]
        return web.json_response({"response": {"allowed": True, "patch": patch}})

    cluster.handlers["/hook"] = old
    await cluster.register(cluster.webhook(admissionReviewVersions=["v9", "v1beta1"]), mutating=True)
    assert (await create(cluster))["data"] == {"a": "admission.k8s.io/v1beta1"}
    assert cluster.reviews[0]["request"]["operation"] == "CREATE"
