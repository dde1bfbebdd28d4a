"""A small HTTP client of the cluster under test, whose sockets are made inside the cluster's network namespace.

Conformance tests look at bare answers (status codes, media types, single watch events), which kubectl hides.
"""

from __future__ import annotations

import base64
import ctypes
import http.client
import json
import os
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlsplit

import yaml
from cluster import Cluster

_NEW_NET = 0x40000000  # CLONE_NEWNET
_BINARY, _CLOSE = 2, 8  # kinds of WebSocket frames
MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
STRATEGIC, APPLY = "application/strategic-merge-patch+json", "application/apply-patch+yaml"


@contextmanager
def network_of(namespace: str) -> Iterator[None]:
    """Inside, this thread makes sockets in the named network namespace."""
    enter = ctypes.CDLL(None, use_errno=True).setns
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    other = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if enter(other, _NEW_NET):
            raise OSError(ctypes.get_errno(), "setns")
        yield
    finally:
        enter(own, _NEW_NET)
        os.close(own)
        os.close(other)


class _Connection(http.client.HTTPSConnection):
    network = ""

    def connect(self) -> None:
        with network_of(self.network):
            self.sock = socket.create_connection((self.host, self.port), timeout=self.timeout)
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host)  # type: ignore[attr-defined]


def _messages(stream: IO[bytes]) -> Iterator[bytes]:
    """Payloads of a WebSocket's data frames up to the closing frame or the end of the stream."""
    while len(head := stream.read(2)) == 2 and head[0] & 0x0F != _CLOSE:
        length = head[1] & 0x7F
        if length > 125:
            length = int.from_bytes(stream.read(2 if length == 126 else 8), "big")
        payload = stream.read(length)
        if head[0] & 0x0F <= _BINARY:
            yield payload


class Refused(AssertionError):
    """An answer that is no success; ``code`` and ``status`` are the answer's."""

    def __init__(self, code: int, status: Mapping[str, Any]) -> None:
        super().__init__(f"{code}: {status.get('message', status)}")
        self.code, self.status = code, status


class Api:
    """The administrator's requests, by the kubeconfig that the server wrote."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        config = yaml.safe_load(cluster.kubeconfig.read_text())
        server, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._context = ssl.create_default_context(
            cadata=base64.b64decode(server["certificate-authority-data"]).decode()
        )
        pair = folder / "client.pem"
        pair.write_bytes(
            b"\n".join(base64.b64decode(user[key]) for key in ("client-certificate-data", "client-key-data"))
        )
        self._context.load_cert_chain(pair)
        self._address = urlsplit(server["server"])
        self.cluster = cluster

    def _connect(self, timeout: float) -> _Connection:
        made = _Connection(
            str(self._address.hostname), self._address.port or 443, timeout=timeout, context=self._context
        )
        made.network = self.cluster.namespace
        return made

    def exchange(
        self, method: str, path: str, body: Any = None, *, media_type: str = "application/json", accept: str = "*/*"
    ) -> tuple[int, Mapping[str, str], bytes]:
        """One request; (status code, header fields, body). Strings and bytes are sent as they are."""
        connection = self._connect(30)
        data = body if isinstance(body, (str, bytes)) or body is None else json.dumps(body)
        fields = {"Accept": accept} | ({"Content-Type": media_type} if body is not None else {})
        try:
            connection.request(method, path, data, fields)
            answer = connection.getresponse()
            return answer.status, dict(answer.headers.items()), answer.read()
        finally:
            connection.close()

    def __call__(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """One request that must succeed; its object. Refused otherwise."""
        code, _, data = self.exchange(method, path, body, **more)
        found = json.loads(data) if data else {}
        if code >= 400:
            raise Refused(code, found)
        return found

    def gone(self, path: str) -> bool:
        return self.exchange("GET", path)[0] == 404

    def websocket(self, path: str, protocol: str) -> list[bytes]:
        """The messages that the server sends over a WebSocket until it ends it."""
        connection = self._connect(30)
        fields = {
            "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(), "Sec-WebSocket-Protocol": protocol,
        }  # fmt: skip
        try:
            connection.request("GET", path, headers=fields)
            answer = connection.response_class(connection.sock, method="GET")
            answer.begin()
            assert (answer.status, answer.headers["Sec-WebSocket-Protocol"]) == (101, protocol), answer.status
            return list(_messages(answer.fp))
        finally:
            connection.close()

    @contextmanager
    def watch(self, path: str, *, seconds: float = 15.0, **query: str) -> Iterator[Callable[[], tuple[str, Any]]]:
        """Gives a function that awaits the next event (bookmarks excepted). TimeoutError when none comes."""
        connection = self._connect(seconds)
        parameters = {"watch": "1", **query}
        text = "&".join(f"{key}={quote(value)}" for key, value in parameters.items())
        connection.request("GET", f"{path}?{text}", headers={"Accept": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()

        def following() -> tuple[str, Any]:
            while True:
                line = answer.readline()
                assert line, "the watch ended"
                event = json.loads(line)
                if event["type"] != "BOOKMARK":
                    return event["type"], event["object"]

        try:
            yield following
        finally:
            answer.close()
            connection.close()


def crd(group: str, plural: str, kind: str, *versions: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    """A namespaced definition; each version is completed with served, storage (the first) and a free schema."""
    filled = [
        {
            "served": True,
            "storage": not number,
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            **version,
        }
        for number, version in enumerate(versions or ({"name": "v1"},))
    ]
    names = {"plural": plural, "singular": kind.lower(), "kind": kind}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": filled, **spec},
    }
