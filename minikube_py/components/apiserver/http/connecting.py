"""Admission of connections: exec, attach, portforward and proxy, before anything is opened.

The object that admission sees is the kind of options that the subresource takes, read from the query,
as ``registry/rest.Connecter.NewConnectOptions`` makes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from minikube_py.components.apiserver.http.call import Call
from minikube_py.components.apiserver.registry.core import Core, admission_request
from minikube_py.components.apiserver.types import Operation
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import Object

CONNECTED = frozenset({"attach", "exec", "portforward", "proxy"})
_FLAGS = ("stdin", "stdout", "stderr", "tty")


async def admit_connection(core: Core, kind: Kind, call: Call) -> None:
    """Both phases of admission for a connection. Raises ApiError."""
    info = call.info
    options = connect_options(kind, info.subresource, call.request.query_string, call.request.path)
    request = admission_request(
        call.context(),
        kind,
        Operation.CONNECT,
        namespace=info.namespace,
        name=info.name,
        draft=options,
        old=None,
        subresource=info.subresource,
    )
    await core.let_in(request)


def connect_options(kind: Kind, subresource: str, query: str, path: str) -> Object:
    """The options object of a connection."""
    sub = kind.subresource(subresource)
    options: Object = {"kind": sub.kind if sub is not None else "", "apiVersion": "v1"}
    values: dict[str, list[str]] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        values.setdefault(key, []).append(value)
    if subresource == "proxy":
        rest = path.partition("/proxy")[2].lstrip("/")
        if rest:
            options["path"] = rest
    elif subresource == "portforward":
        ports = [int(value) for value in values.get("ports", ()) if value.isdecimal()]
        if ports:
            options["ports"] = ports
    else:
        options.update(_stream_options(values, subresource))
    return options


def _stream_options(values: Mapping[str, list[str]], subresource: str) -> Object:
    """PodExecOptions and PodAttachOptions."""
    found: Object = {}
    for flag in _FLAGS:
        text = values.get(flag, [""])[0]
        if text not in ("", "0", "false"):
            found[flag] = True
    if values.get("container", [""])[0]:
        found["container"] = values["container"][0]
    if subresource == "exec" and values.get("command"):
        found["command"] = values["command"]
    return found
