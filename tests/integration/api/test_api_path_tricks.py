"""Spellings of a path: whoever may read ConfigMaps of one namespace, and ``/ok/*``, reads no Secret by any of them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_process import Reply, Running, api_process

WORD = "hunter2-in-plain-sight"
ENCODED = base64.b64encode(WORD.encode())
RBAC = "/apis/rbac.authorization.k8s.io/v1"
NS = "/api/v1/namespaces/default"
USER = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "limited"}


def post(server: Running, path: str, body: dict[str, Any]) -> None:
    reply = asyncio.run(server.send("POST", path, json.dumps(body).encode()))
    assert reply.code == 201, reply.body


def grant(server: Running, where: str, kind: str, *rules: dict[str, list[str]]) -> None:
    plural = f"{kind.lower()}s"
    post(server, f"{RBAC}{where}/{plural}", {"metadata": {"name": "limited"}, "rules": list(rules)})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "limited"}
    binding = {"metadata": {"name": "limited"}, "roleRef": reference, "subjects": [USER]}
    post(server, f"{RBAC}{where}/{kind.lower()}bindings", binding)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder: Path = tmp_path_factory.mktemp("paths")
    with api_process(folder) as running:
        post(running, f"{NS}/secrets", {"metadata": {"name": "s"}, "stringData": {"word": WORD}})
        reads = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}
        grant(running, "/namespaces/default", "Role", reads)
        grant(running, "", "ClusterRole", {"nonResourceURLs": ["/ok/*", "/healthz"], "verbs": ["get"]})
        yield running


def ask(server: Running, method: str, path: str, *, limited: bool = True) -> Reply:
    lines = ["Impersonate-User: limited"] if limited else []
    return asyncio.run(server.exchange(server.head(method, path, *lines)))


def test_what_is_granted_is_given(server: Running) -> None:
    assert ask(server, "GET", f"{NS}/configmaps").code == 200
    assert ask(server, "GET", f"{NS}/configmaps/").code == 200
    assert ask(server, "GET", "/healthz").code == 200
    assert ENCODED in ask(server, "GET", f"{NS}/secrets/s", limited=False).body, "the word is there to be found"


@pytest.mark.parametrize(
    "path",
    [
        f"{NS}/secrets/s", f"{NS}/secrets", f"{NS}/secrets/", "/api/v1/secrets", "/api/v1/configmaps",
        f"{NS}/configmaps/../secrets/s", f"{NS}/configmaps/..%2fsecrets/s", f"{NS}/configmaps/%2e%2e/secrets/s",
        f"{NS}/configmaps/.%2e/secrets/s", f"{NS}/configmaps/x/../../secrets/s", f"{NS}/./secrets/s",
        f"{NS}//secrets/s", f"{NS}/secrets//s", f"{NS}/secrets/s/", f"{NS}/secrets/s/.", f"{NS}/secrets%2fs",
        f"/{NS}/secrets/s", "/api//v1/namespaces/default/secrets/s", "//api/v1//namespaces//default//secrets//s",
        f"{NS}/secrets;x/s", f"{NS}/secrets/s;x=y", f"{NS}/configmaps;/../secrets/s", f"{NS}/configmaps/..;/secrets/s",
        f"{NS}/Secrets/s", f"{NS}/SECRETS/s", "/API/v1/namespaces/default/secrets/s",
        "/api/V1/namespaces/default/secrets/s", "/%61pi/v1/namespaces/default/secrets/s",
        "/api/v1/namespaces/defa%75lt/secrets/s", f"{NS}/secrets/%73", f"{NS}%2fsecrets/s",
        "/api/v1/watch/namespaces/default/secrets/s", "/api/v1/watch/namespaces/default/secrets",
        "/api/v1/watch/secrets", "/api/v1/watch/namespaces/default/configmaps", f"{NS}/configmaps?watch=true",
        f"{NS}/secrets?watch=1", f"{NS}/configmaps?watch=1&watch=0",
        "/api/v1/proxy/namespaces/default/secrets/s", "/api/v1/proxy/namespaces/default/pods/x",
        "/ok/../api/v1/namespaces/default/secrets/s", "/ok/..%2fapi/v1/namespaces/default/secrets/s",
        "/ok/%2e%2e/api/v1/namespaces/default/secrets/s", "/healthz/../api/v1/namespaces/default/secrets/s",
        "/healthz%2f..%2fapi/v1/namespaces/default/secrets/s", "/swagger-ui/../api/v1/namespaces/default/secrets/s",
        "/openapi/v3/../../api/v1/namespaces/default/secrets/s", "/ok", "/ok%2f..", "/healthz/", "/healthz%00",
        f"{NS}/configmaps/x/proxy/../../../secrets/s", f"{NS}/pods/x/proxy/../../../secrets/s",
        f"{NS}/services/x/proxy/../../secrets/s", "/api/v1/nodes/n/proxy/..%2f..%2fsecrets",
        f"{NS}/configmaps/s/status/../../../secrets/s", "/api/v1/namespaces/*/secrets", f"{NS}/*/s",
        "/api/v1/namespaces//secrets/s", "/api/v1/namespaces/%20/secrets", f"{NS}\\secrets\\s", f"{NS}/secrets/s%00",
        f"{NS}/secrets/s%3fx", f"{NS}/secrets/s#x", f"{NS}/configmaps?fieldSelector=metadata.name%3Ds&resource=secrets",
        f"{NS}/configmaps?namespace=kube-system&name=s", f"{NS}/configmaps/s?resource=secrets",
        "/apis//v1/namespaces/default/secrets/s", "/apis/v1/namespaces/default/secrets/s",
        "/apis/%2e%2e/api/v1/namespaces/default/secrets/s", f"/apis/apps/v1/../../..{NS}/secrets/s",
        "http://127.0.0.1/api/v1/namespaces/default/secrets/s", "https://elsewhere/api/v1/namespaces/default/secrets/s",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_no_spelling_shows_what_is_not_granted(server: Running, method: str, path: str) -> None:
    reply = ask(server, method, path)
    assert ENCODED not in reply.body and WORD.encode() not in reply.body
    lists = path.startswith(f"{NS}/configmaps?") and "watch" not in path
    allowed = {200} if lists and method == "GET" else {400, 403, 404, 405}
    assert reply.code in allowed, reply.head + reply.body[:300]
    if reply.code == 200:
        assert reply.object["kind"] == "ConfigMapList"
        assert {item["metadata"]["namespace"] for item in reply.object["items"]} <= {"default"}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "FOO", "get"])
@pytest.mark.parametrize("path", [f"{NS}/secrets/s", f"{NS}/configmaps/../secrets/s", f"{NS}/secrets", "/healthz"])
def test_no_method_does_what_is_not_granted(server: Running, method: str, path: str) -> None:
    assert ask(server, method, path).code in (400, 403, 404, 405)
    assert ask(server, "GET", f"{NS}/secrets/s", limited=False).code == 200, "it is still there"
