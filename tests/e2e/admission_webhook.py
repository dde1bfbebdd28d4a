"""A webhook server for end-to-end tests, run as a program: ``admission_webhook.py CERTIFICATE KEY ADDRESS PORT``.

Each path is one rule, named after those of Kubernetes' own test webhook.
"""

from __future__ import annotations

import base64
import json
import ssl
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DENIED = "webhook-disallow"


def allowed(request: dict[str, Any]) -> dict[str, Any]:
    return {"allowed": True}


def denied(message: str) -> dict[str, Any]:
    return {"allowed": False, "status": {"message": message}}


def patched(*operations: dict[str, Any]) -> dict[str, Any]:
    patch = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": patch}


def always_deny(request: dict[str, Any]) -> dict[str, Any]:
    return denied("this webhook denies all requests")


def slow(request: dict[str, Any]) -> dict[str, Any]:
    time.sleep(3)
    return allowed(request)


def data(request: dict[str, Any]) -> dict[str, Any]:
    """Denies objects whose data say so; on deletion the old object's."""
    shown = request["object"] or request["oldObject"] or {}
    if (shown.get("data") or {}).get("webhook-e2e-test") == DENIED:
        return denied("the object contains unwanted key and value")
    return allowed(request)


def pods(request: dict[str, Any]) -> dict[str, Any]:
    pod = request["object"] or {}
    if (pod.get("metadata", {}).get("labels") or {}).get("webhook-e2e-test") == DENIED:
        return denied("the pod contains unwanted label")
    return allowed(request)


def attach(request: dict[str, Any]) -> dict[str, Any]:
    return denied(f"attaching to pod {request['name']!r} is not allowed ({request['object']['kind']})")


def mutate_data(request: dict[str, Any]) -> dict[str, Any]:
    """Two stages: each adds a key when the one before is there."""
    found = request["object"].get("data") or {}
    for before, after in (("mutation-start", "mutation-stage-1"), ("mutation-stage-1", "mutation-stage-2")):
        if found.get(before) == "yes" and after not in found:
            return patched({"op": "add", "path": f"/data/{after}", "value": "yes"})
    return allowed(request)


def mutate_pod(request: dict[str, Any]) -> dict[str, Any]:
    container = {"name": "webhook-added-init-container", "image": request["object"]["spec"]["containers"][0]["image"]}
    return patched({"op": "add", "path": "/spec/initContainers", "value": [container]})


def add_label(request: dict[str, Any]) -> dict[str, Any]:
    return patched({"op": "add", "path": "/metadata/labels", "value": {"added-label": "yes"}})


RULES = {
    "/always-allow": allowed,
    "/always-deny": always_deny,
    "/slow": slow,
    "/data": data,
    "/pods": pods,
    "/attach": attach,
    "/mutate-data": mutate_data,
    "/mutate-pod": mutate_pod,
    "/add-label": add_label,
}


class Handler(BaseHTTPRequestHandler):
    """Answers reviews."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        rule = RULES[self.path.partition("?")[0]]
        response = {"uid": review["request"]["uid"], **rule(review["request"])}
        answer = {"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response}
        body = json.dumps(answer).encode()
        try:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except (BrokenPipeError, ssl.SSLError):
            self.close_connection = True  # the API server gave up

    def log_message(self, *arguments: Any) -> None:
        """Quiet."""


if __name__ == "__main__":
    certificate, key, address, port = sys.argv[1:]
    server = ThreadingHTTPServer((address, int(port)), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()
