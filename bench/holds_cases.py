"""The heavy requests of ``bench/holds``, each with what it needs before."""

from __future__ import annotations

import base64
import http.client
import http.server
import json
import secrets
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from holds_server import TOKEN, UNVERIFIED, Api, config_map

_PROTOBUF = "application/vnd.kubernetes.protobuf"
_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def large_map(name: str, keys: int = 10_000, size: int = 90) -> dict[str, Any]:
    return config_map(name, "x", {f"key-{number:05d}": "v" * size for number in range(keys)})


def schema(fields: int) -> dict[str, Any]:
    """A structural schema with about ten times as many properties."""
    parts = {f"field{n}": {"type": "string", "description": "d" * 40, "maxLength": 20} for n in range(10)}
    return {
        "type": "object",
        "properties": {
            f"part{number}": {
                "type": "array",
                "items": {"type": "object", "properties": parts, "required": ["field0"]},
                "maxItems": 5,
            }
            for number in range(fields)
        },
    }


def definition(plural: str, fields: int, versions: int = 1, rules: int = 0) -> dict[str, Any]:
    spec: dict[str, Any] = schema(fields)
    if rules:
        spec["x-kubernetes-validations"] = [
            {"rule": f"!has(self.part{n}) || self.part{n}.all(x, x.field0 != 'no{n}')"} for n in range(rules)
        ]
    whole = {"type": "object", "properties": {"spec": spec}}
    return {
        "kind": "CustomResourceDefinition",
        "apiVersion": "apiextensions.k8s.io/v1",
        "metadata": {"name": f"{plural}.holds.example.com"},
        "spec": {
            "group": "holds.example.com",
            "names": {"plural": plural, "kind": plural.capitalize(), "singular": plural},
            "scope": "Namespaced",
            "versions": [
                {"name": f"v{n + 1}", "served": True, "storage": n == 0, "schema": {"openAPIV3Schema": whole}}
                for n in range(versions)
            ],
        },
    }


Case = Callable[[Api], object]
PODS, MAPS, X = "/api/v1/namespaces/full/pods", "/api/v1/namespaces/full/configmaps", "/api/v1/namespaces/x/configmaps"


def _listed(path: str, accept: str = "application/json") -> Case:
    return lambda api: api.call("GET", path, accept=accept)


def _sent(method: str, path: str, body: object, form: str = "application/json", **more: Any) -> Case:
    return lambda api: api.call(method, path, body, form=form, **more)


def _watch(path: str) -> Case:
    return _listed(f"{path}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
                   "&allowWatchBookmarks=true&timeoutSeconds=2")  # fmt: skip


def _pages(api: Api) -> None:
    token = ""
    for _ in range(5):
        page = json.loads(api.call("GET", f"/api/v1/pods?limit=500&continue={token}"))
        token = page["metadata"].get("continue", "")
        name = page["items"][0]["metadata"]["name"]
        api.call("PATCH", f"{PODS}/{name}", {"metadata": {"annotations": {"a": secrets.token_hex(4)}}},
                 form="application/merge-patch+json")  # fmt: skip


def _past(api: Api) -> None:
    revision = json.loads(api.call("GET", f"{PODS}?limit=1"))["metadata"]["resourceVersion"]
    api.call("POST", X, config_map(f"past-{secrets.token_hex(3)}", "x"))
    api.call("GET", f"{PODS}?resourceVersion={revision}&resourceVersionMatch=Exact&labelSelector=app%3Dapp-1")
    first = json.loads(api.call("GET", f"{MAPS}?limit=1"))["metadata"]["resourceVersion"]
    api.call("DELETE", f"{MAPS}/map-000001")
    api.call("GET", f"{MAPS}?resourceVersion={first}&resourceVersionMatch=Exact")


def _protobuf_map(name: str, **size: int) -> bytes:
    from minikube_py.machinery.protobuf import encode, load

    load()
    return encode(large_map(name, **size))


def _write_protobuf(api: Api) -> None:
    api.call("POST", X, _protobuf_map("proto"), form=_PROTOBUF, accept=_PROTOBUF)
    api.call("PUT", f"{X}/proto", _protobuf_map("proto", size=80), form=_PROTOBUF, accept=_PROTOBUF)


def _custom(api: Api) -> None:
    made = {"metadata": {"name": f"c-{secrets.token_hex(3)}"}, "kind": "Ruled", "apiVersion": "holds.example.com/v1"}
    items = [{f"field{n}": "v" * 20 for n in range(10)} for _ in range(5)]
    made["spec"] = {f"part{number}": items for number in range(40)}
    path = "/apis/holds.example.com/v1/namespaces/x/ruled"
    ends = time.monotonic() + 60
    while b'"items"' not in api.call("GET", path, fails=True):
        if time.monotonic() > ends:
            raise SystemExit("the custom kind is not served")
        time.sleep(0.2)
    api.call("POST", path, made)


def _bindings(api: Api) -> None:
    """5,000 role bindings, and then a change of one of them and of a ClusterRole."""
    subject = [{"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"}]
    role = {"kind": "ClusterRole", "name": "view", "apiGroup": "rbac.authorization.k8s.io"}
    connection = http.client.HTTPSConnection("127.0.0.1", api.port, context=UNVERIFIED, timeout=60)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    path = "/apis/rbac.authorization.k8s.io/v1/namespaces/x/rolebindings"
    for number in range(5000):
        body = {"metadata": {"name": f"b-{number}"}, "subjects": subject, "roleRef": role}
        connection.request("POST", path, json.dumps(body), headers)
        connection.getresponse().read()
    connection.close()
    asked = {"namespace": "x", "verb": "get", "resource": "pods"}
    review = {"spec": {"user": "u", "resourceAttributes": asked}}
    api.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    api.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {"spec": {"namespace": "x"}})


def _quota(api: Api) -> None:
    path = "/api/v1/namespaces/full/resourcequotas"
    api.call("POST", path, {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1000000", "requests.cpu": "10000"}}})
    time.sleep(3)
    api.call("DELETE", f"{path}/q")


def _rules(api: Api) -> None:
    """A definition with many rules, and an object that all of them look at."""
    api.call("POST", _CRDS, definition("ruled", 40, rules=40))
    _custom(api)


def _policy(api: Api) -> None:
    """An admission policy whose expression looks at every key of a large object."""
    base = "/apis/admissionregistration.k8s.io/v1"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "!has(object.data) || object.data.all(k, object.data[k] != 'no')"}],
    }
    api.call("POST", f"{base}/validatingadmissionpolicies", {"metadata": {"name": "heavy"}, "spec": spec})
    binding = {"policyName": "heavy", "validationActions": ["Deny"]}
    api.call("POST", f"{base}/validatingadmissionpolicybindings", {"metadata": {"name": "heavy"}, "spec": binding})
    time.sleep(2)
    api.call("POST", X, large_map("judged"))
    for kind in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
        api.call("DELETE", f"{base}/{kind}/heavy")


def _role(api: Api) -> None:
    """A role of 3,000 rules, asked for by somebody who must have all of them to give them."""
    base = "/apis/rbac.authorization.k8s.io/v1/namespaces/x/roles"
    rules = [{"apiGroups": [f"g{n}"], "resources": ["pods"], "verbs": ["get", "list"]} for n in range(3000)]
    api.call("POST", base, {"metadata": {"name": "wide"}, "rules": rules})
    api.call("DELETE", f"{base}/wide")


def _large_pod(api: Api) -> None:
    api.call("POST", "/api/v1/namespaces/x/serviceaccounts", {"metadata": {"name": "default"}}, fails=True)
    env = [{"name": f"E{n}", "value": "v" * 20} for n in range(200)]
    containers = [{"name": f"c{n}", "image": "i", "env": env} for n in range(60)]
    api.call("POST", "/api/v1/namespaces/x/pods", {"metadata": {"name": "large"}, "spec": {"containers": containers}})
    status = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    api.call("PATCH", "/api/v1/namespaces/x/pods/large/status", status, form=STRATEGIC)
    api.call("DELETE", "/api/v1/namespaces/x/pods/large?gracePeriodSeconds=0")


def _slices(api: Api) -> None:
    path = "/apis/discovery.k8s.io/v1/namespaces/x/endpointslices"
    endpoints = [{"addresses": [f"10.0.{n // 250}.{n % 250 + 1}"], "nodeName": f"n{n}"} for n in range(1000)]
    made = {"metadata": {"name": "wide"}, "addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 80}]}
    api.call("POST", path, made)
    api.call("PATCH", f"{path}/wide", {"metadata": {"labels": {"a": "b"}}}, form=MERGE)


def _customs(api: Api) -> None:
    """500 custom objects of 20 kB: lists, a Table, one of 1 MB."""
    path = "/apis/holds.example.com/v1/namespaces/x/hundreds"
    items = [{f"field{n}": "v" * 20 for n in range(10)} for _ in range(5)]
    spec = {f"part{number}": items for number in range(15)}
    connection = http.client.HTTPSConnection("127.0.0.1", api.port, context=UNVERIFIED, timeout=60)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    for number in range(500):
        body = {
            "metadata": {"name": f"c-{number}"},
            "kind": "Hundreds",
            "apiVersion": "holds.example.com/v1",
            "spec": spec,
        }
        connection.request("POST", path, json.dumps(body), headers)
        connection.getresponse().read()
    connection.close()
    api.call("GET", path)
    api.call("GET", path, accept=_TABLE)
    api.call("DELETE", path)


def _operations(api: Api) -> None:
    api.call("POST", X, config_map("patched", "x"))
    operations = [{"op": "add", "path": f"/data/k{n}", "value": "v" * 20} for n in range(9_900)]
    api.call("PATCH", f"{X}/patched", operations, form=PATCH)


def _thirty(api: Api) -> None:
    """Thirty ConfigMaps of 1 MB, read in all ways."""
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "large"}})
    path = "/api/v1/namespaces/large/configmaps"
    for number in range(30):
        made = large_map(f"m{number}")
        made["metadata"]["namespace"] = "large"
        api.call("POST", path, made)
    api.told()
    api.call("GET", path)
    api.call("GET", f"{path}?labelSelector=app%3D1")
    api.call("GET", path, accept=_TABLE)
    api.call("GET", path, accept=_PROTOBUF)
    api.call("GET", f"{path}?watch=1&timeoutSeconds=3", accept=_PROTOBUF)
    api.call("GET", f"{path}?watch=1&timeoutSeconds=1")
    revision = json.loads(api.call("GET", f"{path}?limit=1"))["metadata"]["resourceVersion"]
    api.call("POST", X, config_map(f"past-{secrets.token_hex(3)}", "x"))
    api.call("GET", f"{path}?resourceVersion={revision}&resourceVersionMatch=Exact&labelSelector=app%3D1")
    api.call("DELETE", path)


@contextmanager
def _hook() -> Iterator[tuple[str, str]]:
    """A mutating webhook that adds an annotation; gives its URL and CA."""
    folder = Path("/tmp") / f"pyk3s-hook-{secrets.token_hex(3)}"
    folder.mkdir(mode=0o700)
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += [
        "-subj",
        "/CN=hook",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        str(folder / "k"),
        "-out",
        str(folder / "c"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    patch = [{"op": "add", "path": "/metadata/annotations", "value": {"a": "b"}}]

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = {"uid": review["request"]["uid"], "allowed": True, "patchType": "JSONPatch"}
            answer["patch"] = base64.b64encode(json.dumps(patch).encode()).decode()
            body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer})
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Hook)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "c", folder / "k")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        ca = base64.b64encode((folder / "c").read_bytes()).decode()
        yield f"https://127.0.0.1:{server.server_address[1]}/", ca
    finally:
        server.shutdown()
        server.server_close()
        shutil.rmtree(folder)


def _webhook(api: Api) -> None:
    """A mutating webhook that is asked about an object of 1 MB."""
    path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    with _hook() as (url, ca):
        webhook = {
            "name": "hook.holds.example.com", "clientConfig": {"url": url, "caBundle": ca}, "rules": [rule],
            "sideEffects": "None", "admissionReviewVersions": ["v1"],
        }  # fmt: skip
        api.call("POST", path, {"metadata": {"name": "hook"}, "webhooks": [webhook]})
        time.sleep(1)
        api.call("POST", X, config_map("before", "x"))
        api.told()
        made = json.loads(api.call("POST", X, large_map("hooked")))
        api.call("DELETE", f"{path}/hook")
    if made["metadata"].get("annotations") != {"a": "b"}:
        raise SystemExit("the webhook was not asked")


def _namespace(api: Api) -> None:
    api.call("DELETE", "/api/v1/namespaces/full")
    ends = time.monotonic() + 300
    while b'"Terminating"' in api.call("GET", "/api/v1/namespaces/full", fails=True):
        if time.monotonic() > ends:
            raise SystemExit("the namespace stays")
        time.sleep(0.5)


APPLY, MERGE, STRATEGIC, PATCH = (
    f"application/{form}"
    for form in ("apply-patch+yaml", "merge-patch+json", "strategic-merge-patch+json", "json-patch+json")
)
CASES: dict[str, Case] = {
    "start": lambda api: time.sleep(6),
    "list": _listed(PODS),
    "list, all namespaces": _listed("/api/v1/pods"),
    "list by labels": _listed(f"{PODS}?labelSelector=app+in+(app-1,app-2),n!%3D7"),
    "list by 3,000 labels": _listed(f"{PODS}?labelSelector=n+in+({','.join(map(str, range(3000)))})"),
    "list by fields": _listed(f"{PODS}?fieldSelector=status.phase%3DRunning"),
    "list, protobuf": _listed(PODS, _PROTOBUF),
    "list, YAML": _listed(f"{MAPS}?limit=2000", "application/yaml"),
    "table": _listed(PODS, _TABLE),
    "table with objects": _listed(f"{PODS}?includeObject=Object", _TABLE),
    "metadata list": _listed(PODS, "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"),
    "pages with writes between": _pages,
    "lists of the past": _past,
    "watch with initial events": _watch(PODS),
    "watch by labels": lambda api: api.call("GET", f"{PODS}?watch=1&labelSelector=app%3Dapp-1&timeoutSeconds=2"),
    "watch as Table": lambda api: api.call("GET", f"{PODS}?watch=1&timeoutSeconds=2", accept=_TABLE),
    "create 1 MB": _sent("POST", X, large_map("large")),
    "update 1 MB": _sent("PUT", f"{X}/large", large_map("large", size=80)),
    "merge patch 1 MB": _sent("PATCH", f"{X}/large", large_map("large", size=85), MERGE),
    "small merge patch of 1 MB": _sent("PATCH", f"{X}/large", {"data": {"a": "b"}}, MERGE),
    "strategic patch 1 MB": _sent("PATCH", f"{X}/large", large_map("large", size=84), STRATEGIC),
    "JSON patch of 1 MB": _sent("PATCH", f"{X}/large", [{"op": "add", "path": "/data/z", "value": "1"}] * 200, PATCH),
    "apply 1 MB": _sent("PATCH", f"{X}/applied?fieldManager=a", large_map("applied"), APPLY),
    "apply 1 MB again": _sent("PATCH", f"{X}/applied?fieldManager=a", large_map("applied", size=80), APPLY),
    "apply with 10,000 conflicts": _sent(
        "PATCH", f"{X}/applied?fieldManager=b", large_map("applied", size=70), APPLY, fails=True
    ),
    "get 1 MB, protobuf": _listed(f"{X}/large", _PROTOBUF),
    "get 1 MB, YAML": _listed(f"{X}/large", "application/yaml"),
    "get 1 MB, pretty": _listed(f"{X}/large?pretty=1"),
    "protobuf 1 MB": _write_protobuf,
    "one value of 2.5 MB": _sent("POST", X, config_map("one", "x", {"a": "v" * 1_000_000})),
    "delete 1 MB": _sent("DELETE", f"{X}/large", None),
    "admission policy over 1 MB": _policy,
    "definition 100 kB": _sent("POST", _CRDS, definition("hundreds", 40)),
    "definition 1.4 MB, 3 versions": _sent("POST", _CRDS, definition("thousands", 160, versions=3)),
    "definition with 40 rules": _rules,
    "openapi v3": lambda api: api.call("GET", "/openapi/v3/apis/holds.example.com/v1"),
    "openapi v2": _listed("/openapi/v2"),
    "discovery": _listed("/apis", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"),
    "metrics": _listed("/metrics"),
    "30 objects of 1 MB": _thirty,
    "webhook asked about 1 MB": _webhook,
    "role of 3,000 rules": _role,
    "pod of 60 containers, 12,000 variables": _large_pod,
    "1,000 endpoints": _slices,
    "500 custom objects of 20 kB": _customs,
    "JSON patch of 9,900 operations": _operations,
    "secret of 750 kB": _sent(
        "POST",
        "/api/v1/namespaces/x/secrets",
        {"metadata": {"name": "s"}, "data": {f"k{n}": "dmFsdWUx" * 10 for n in range(8_000)}},
    ),
    "5,000 role bindings": _bindings,
    "quota over all": _quota,
    "deletecollection": lambda api: api.call("DELETE", MAPS),
    "namespace deletion": _namespace,
}
