"""A server for pods of conformance tests: HTTP and UDP on given ports, answering with the pod's name; and its clients.

HTTP: ``/`` answers the host name, ``/echo/...`` what was asked (method and path). UDP answers the host name.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from cluster import Cluster
from conformance_pods import pod, python_container, python_volumes

SOURCE = """
import http.server, os, signal, socket, sys, threading
name = socket.gethostname().encode()
class Face(http.server.BaseHTTPRequestHandler):
    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = f"{self.command} {self.path}".encode() if self.path.startswith("/echo") else name
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer
def datagrams(port):
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    found.bind(("", port))
    while True:
        _, who = found.recvfrom(999)
        found.sendto(name, who)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
for text in sys.argv[1:]:
    threading.Thread(target=datagrams, args=(int(text),), daemon=True).start()
    server = http.server.ThreadingHTTPServer(("", int(text)), Face)
    threading.Thread(target=server.serve_forever, daemon=True).start()
threading.Event().wait()
"""
ASK_UDP = """
import socket, sys
found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
found.settimeout(2)
found.connect((sys.argv[1], int(sys.argv[2])))
for _ in range(15):
    try:
        found.send(b"who")
        print(found.recv(999).decode())
        break
    except OSError:
        pass
"""


def server_pod(name: str, ports: Sequence[int] = (8080, 8081), **more: Any) -> dict[str, Any]:
    """A pod that answers on TCP and UDP at each port; ready when the first one answers."""
    found = python_container(SOURCE, *map(str, ports), **more.pop("container", {}))
    found["readinessProbe"] = {"httpGet": {"port": ports[0], "path": "/"}, "periodSeconds": 1}
    return pod(name, found, volumes=python_volumes(), **more)


def ask(cluster: Cluster, address: str, port: int = 80, path: str = "/") -> str:
    """The answer over HTTP to a client on the node; a failure is part of the text."""
    return cluster.run(
        "busybox", "timeout", "10", "busybox", "wget", "-qO-", f"http://{address}:{port}{path}", check=False
    )


def ask_udp(cluster: Cluster, address: str, port: int) -> str:
    return cluster.run(sys.executable, "-c", ASK_UDP, address, str(port), check=False).strip()


def from_pod(cluster: Cluster, core: str, name: str, *command: str) -> str:
    """What a command in the pod wrote."""
    namespace = core.rsplit("/", 1)[1]
    return cluster.kubectl("exec", name, "-n", namespace, "--", *command, check=False).strip()


def ask_from_pod(cluster: Cluster, core: str, name: str, address: str, port: int = 80) -> str:
    return from_pod(cluster, core, name, "timeout", "10", "wget", "-qO-", f"http://{address}:{port}/")


def ask_udp_from_pod(cluster: Cluster, core: str, name: str, address: str, port: int) -> str:
    return from_pod(cluster, core, name, f"{sys.prefix}/bin/python", "-c", ASK_UDP, address, str(port))
