"""Where a stream goes: which kubelet, which path, which container; which pod or endpoint a proxy reaches.

Pure functions of objects; texts follow ``pkg/registry/core/pod/strategy.go``.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

from minikube_py.components.apiserver.http.options import integer
from minikube_py.components.apiserver.http.request_info import Query, truth
from minikube_py.machinery.errors import (
    ApiError,
    FieldError,
    bad_request,
    forbidden_field,
    go_quote,
    internal,
    invalid,
    invalid_value,
)
from minikube_py.machinery.objects import Object
from minikube_py.machinery.times import parse_time

KUBELET_PORT = 10250
_LOG_OPTIONS = (
    "follow", "previous", "timestamps", "sinceSeconds", "sinceTime", "tailLines", "limitBytes",
    "insecureSkipTLSVerifyBackend",
)  # fmt: skip
_LEAST = (("tailLines", 0), ("limitBytes", 1), ("sinceSeconds", 1))
_CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")


def kubelet_address(node: Object) -> tuple[str, int]:
    """Host and port of a node's kubelet. ApiError 500 when the node has no address."""
    status = node.get("status") or {}
    addresses = {entry.get("type"): str(entry.get("address")) for entry in reversed(status.get("addresses") or ())}
    for kind in ("InternalIP", "ExternalIP", "Hostname"):
        if kind in addresses:
            endpoint = (status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}
            return addresses[kind], int(endpoint.get("Port") or KUBELET_PORT)
    raise internal(f"no preferred addresses found; known addresses: {list(addresses.values())}")


def container_of(pod: Object, asked: str) -> str:
    """The container a stream is for. ApiError 400 when it must be said or does not exist."""
    spec, name = pod.get("spec") or {}, pod["metadata"]["name"]
    known = [str(item.get("name")) for field in _CONTAINER_LISTS for item in spec.get(field) or ()]
    if asked:
        if asked not in known:
            raise bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    main = [str(item.get("name")) for item in spec.get("containers") or ()]
    if len(main) == 1:
        return main[0]
    raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{' '.join(known)}]")


def node_of(pod: Object) -> str:
    """The pod's node. ApiError 400 when it has none."""
    node = (pod.get("spec") or {}).get("nodeName")
    if not node:
        raise bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
    return str(node)


def stream_target(pod: Object, subresource: str, raw_query: str) -> str:
    """The kubelet's path for exec, attach and portforward."""
    meta = pod["metadata"]
    pairs = parse_qsl(raw_query, keep_blank_values=True)
    where = f"{meta['namespace']}/{meta['name']}"
    if subresource == "portforward":
        ports = [("port", port) for key, value in pairs if key == "ports" for port in value.split(",")]
        return f"/portForward/{where}" + (f"?{urlencode(ports)}" if ports else "")
    query = dict(reversed(pairs))
    container = container_of(pod, query.get("container", ""))
    out: list[tuple[str, str]] = []
    for ours, theirs in (("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")):
        given = query.get(ours)
        wanted = truth(given) if given is not None else (ours in ("stdout", "stderr"))
        if wanted and not (ours == "stderr" and truth(query.get("tty"))):
            out.append((theirs, "1"))
    out += [("command", value) for key, value in pairs if key == "command"]
    return f"/{subresource}/{where}/{container}?{urlencode(out)}"


def log_target(pod: Object, query: Query) -> str:
    """The kubelet's path for logs. ApiError 400 and 422 for bad options."""
    meta = pod["metadata"]
    _check_log_options(meta["name"], query)
    container = container_of(pod, query.get("container", ""))
    kept = [(name, query[name]) for name in _LOG_OPTIONS if query.get(name) and name != "insecureSkipTLSVerifyBackend"]
    path = f"/containerLogs/{meta['namespace']}/{meta['name']}/{container}"
    return f"{path}?{urlencode(kept)}" if kept else path


def _check_log_options(name: str, query: Query) -> None:
    """``ValidatePodLogOptions``, without the feature gate PodLogsQuerySplitStreams, which is off by default."""
    numbers = {field: integer(query, field) for field, _ in _LEAST}
    since = query.get("sinceTime") or ""
    if since and since != "null":
        try:
            parse_time(since)
        except ValueError as error:
            raise bad_request(str(error)) from error
    errors: list[FieldError] = []
    for field, least in _LEAST:
        number = numbers[field]
        if field == "sinceSeconds" and number is not None and "sinceTime" in query:
            errors.append(forbidden_field("[]", "at most one of `sinceTime` or `sinceSeconds` may be specified"))
        elif number is not None and number < least:
            words = "must be greater than or equal to 0" if least == 0 else "must be greater than 0"
            errors.append(invalid_value(field, number, words))
    if "stream" in query:
        errors.append(forbidden_field("stream", "may not be specified"))
    if errors:
        raise invalid("", "PodLogOptions", name, errors)


def split_target(name: str, kind: str = "service") -> tuple[str, str, str]:
    """``[scheme:]name[:port]`` of a proxy path to a ``kind``. ApiError 400 when malformed."""
    parts = name.split(":")
    if len(parts) == 1:
        return "", parts[0], ""
    if len(parts) == 2:
        return "", parts[0], parts[1]
    if len(parts) == 3 and parts[0] in ("", "http", "https"):
        return parts[0], parts[1], parts[2]
    raise bad_request(f"invalid {kind} request {go_quote(name)}")


def pod_port(pod: Object, text: str) -> int:
    """The port of a pod proxy: as given, or the first declared container port."""
    if text:
        if text.isdecimal():
            return int(text)
        for container in (pod.get("spec") or {}).get("containers") or ():
            for port in container.get("ports") or ():
                if port.get("name") == text:
                    return int(port["containerPort"])
        raise bad_request(f"pod has no port named {go_quote(text)}")
    for container in (pod.get("spec") or {}).get("containers") or ():
        for port in container.get("ports") or ():
            return int(port["containerPort"])
    return 80


def service_port_name(service: Object, text: str) -> str:
    """The name of the service's port that a proxy request means. ApiError 503 when there is none."""
    ports = (service.get("spec") or {}).get("ports") or []
    if not text and len(ports) == 1:
        return str(ports[0].get("name") or "")
    for port in ports:
        if port.get("name") == text or str(port.get("port")) == text:
            return str(port.get("name") or "")
    name = service["metadata"]["name"]
    raise ApiError(503, "ServiceUnavailable", f"no service port {go_quote(text)} found for service {go_quote(name)}")
