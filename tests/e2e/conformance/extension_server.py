"""What runs in a pod for the conformance tests of extensions: a conversion webhook and an aggregated API server.

    python extension_server.py CERTIFICATE KEY CLIENT_CA PORT

``POST /convert`` converts between v1 (``spec.hostPort: "host:port"``) and v2 (``spec.host`` and ``spec.port``).
Everything else is the API group wardle.example.com/v1alpha1 with the kind Flunder, kept in memory, and
metrics.k8s.io/v1beta1, which answers with what was put there. It believes the ``X-Remote-*`` headers of who shows a
certificate of the request-header CA, and nobody else.
"""

from __future__ import annotations

import json
import ssl
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

GROUP_VERSION = "wardle.example.com/v1alpha1"
BASE = f"/apis/{GROUP_VERSION}"
VERBS = ["create", "delete", "get", "list", "update"]
RESOURCES = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": GROUP_VERSION,
    "resources": [
        {"name": "flunders", "singularName": "flunder", "namespaced": True, "kind": "Flunder", "verbs": VERBS},
    ],
}
METRICS = "/apis/metrics.k8s.io/v1beta1"
METRICS_RESOURCES = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": "metrics.k8s.io/v1beta1",
    "resources": [
        {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]},
    ],
}
Answer = tuple[int, Any]


def convert(obj: dict[str, Any], wanted: str) -> dict[str, Any]:
    """One object in another version."""
    spec = dict(obj.get("spec") or {})
    if wanted.endswith("/v2") and "hostPort" in spec:
        spec["host"], _, spec["port"] = spec.pop("hostPort").partition(":")
    elif wanted.endswith("/v1") and "host" in spec:
        spec["hostPort"] = f"{spec.pop('host')}:{spec.pop('port')}"
    return {**obj, "apiVersion": wanted, "spec": spec}


def converted(review: dict[str, Any]) -> Answer:
    request = review["request"]
    objects = [convert(obj, request["desiredAPIVersion"]) for obj in request["objects"]]
    response = {"uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": objects}
    return 200, {"apiVersion": review["apiVersion"], "kind": "ConversionReview", "response": response}


def failure(code: int, reason: str, message: str) -> Answer:
    return code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
                  "message": message}  # fmt: skip


class Flunders:
    """The objects, by namespace and name."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.revision = 0
        self.lock = threading.Lock()

    def answer(self, method: str, path: str, body: dict[str, Any]) -> Answer:
        """Serves ``/flunders`` and ``/namespaces/NS/flunders[/NAME]``."""
        parts = path.removeprefix(f"{BASE}/").split("/")
        namespace = parts[1] if parts[0] == "namespaces" else ""
        rest = parts[2:] if namespace else parts
        if rest[:1] != ["flunders"] or len(rest) > 2:
            return failure(404, "NotFound", "the server could not find the requested resource")
        with self.lock:
            if len(rest) == 2:
                return self.one(method, (namespace, rest[1]), body)
            return self.many(method, namespace, body)

    def many(self, method: str, namespace: str, body: dict[str, Any]) -> Answer:
        chosen = [key for key in sorted(self.objects) if namespace in ("", key[0])]
        if method == "POST":
            name = str(body["metadata"]["name"])
            if (namespace, name) in self.objects:
                return failure(409, "AlreadyExists", f'flunders.wardle.example.com "{name}" already exists')
            meta = {**body["metadata"], "namespace": namespace, "uid": str(uuid.uuid4())}
            return 201, self.store((namespace, name), {**body, "metadata": meta})
        items = [self.objects.pop(key) if method == "DELETE" else self.objects[key] for key in chosen]
        meta = {"resourceVersion": str(self.revision)}
        return 200, {"kind": "FlunderList", "apiVersion": GROUP_VERSION, "metadata": meta, "items": items}

    def one(self, method: str, key: tuple[str, str], body: dict[str, Any]) -> Answer:
        found = self.objects.get(key)
        if found is None:
            return failure(404, "NotFound", f'flunders.wardle.example.com "{key[1]}" not found')
        if method == "PUT":
            return 200, self.store(key, {**body, "metadata": {**body["metadata"], "uid": found["metadata"]["uid"]}})
        if method == "DELETE":
            del self.objects[key]
        return 200, found

    def store(self, key: tuple[str, str], obj: dict[str, Any]) -> dict[str, Any]:
        self.revision += 1
        meta = {**obj["metadata"], "resourceVersion": str(self.revision)}
        self.objects[key] = {**obj, "apiVersion": GROUP_VERSION, "kind": "Flunder", "metadata": meta}
        return self.objects[key]


FLUNDERS = Flunders()
MEASURED: dict[str, Any] = {}
"""What was put under metrics.k8s.io, by path."""


def measured(method: str, path: str, body: Any) -> Answer:
    if method == "PUT":
        MEASURED[path] = body
    return (200, MEASURED[path]) if path in MEASURED else failure(404, "NotFound", "nothing was measured")


class Handler(BaseHTTPRequestHandler):
    """Answers everything with JSON."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_PUT(self) -> None:
        self.answer()

    def do_DELETE(self) -> None:
        self.answer()

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        code, found = self.found(urlsplit(self.path).path.rstrip("/"), body)
        data = json.dumps(found).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def found(self, path: str, body: dict[str, Any]) -> Answer:
        if path == "/convert":
            return converted(body)
        if not self.connection.getpeercert() or not self.headers.get("X-Remote-User"):  # type: ignore[attr-defined]
            return failure(401, "Unauthorized", "Unauthorized")
        if path == BASE:
            return 200, RESOURCES
        if path == METRICS:
            return 200, METRICS_RESOURCES
        if path.startswith(f"{METRICS}/"):
            return measured(self.command, path, body)
        if path.startswith(f"{BASE}/"):
            return FLUNDERS.answer(self.command, path, body)
        return failure(404, "NotFound", "the server could not find the requested resource")

    def log_message(self, *arguments: Any) -> None:
        """Quiet."""


if __name__ == "__main__":
    certificate, key, client_ca, port = sys.argv[1:]
    server = ThreadingHTTPServer(("0.0.0.0", int(port)), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(client_ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()
