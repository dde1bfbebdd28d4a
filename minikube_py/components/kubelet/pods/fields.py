"""Values of the downward API: fields of the pod and resources of its containers, as text.

Promises the texts of ``pkg/fieldpath`` and ``pkg/api/v1/resource``. Raises ``FieldProblem``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from minikube_py.components.kubelet.pods.model import find_container, spec_of
from minikube_py.machinery.errors import go_quote
from minikube_py.machinery.objects import Object, annotations_of, labels_of, name_of, namespace_of, uid_of
from minikube_py.machinery.quantities import parse_quantity


class FieldProblem(Exception):
    """A field or resource that cannot be told; the text is Kubernetes'."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What downward values take from the node: allocatable amounts stand in for missing limits."""

    name: str
    host_ips: tuple[str, ...]
    allocatable: Mapping[str, str]


_SUBSCRIPT = re.compile(r"^(metadata\.(?:annotations|labels))\['(.*)'\]$")


def field_value(pod: Object, path: str, *, node: NodeFacts, pod_ips: tuple[str, ...] = ()) -> str:
    """The text of a ``fieldRef``."""
    subscript = _SUBSCRIPT.match(path)
    if subscript:
        source = annotations_of(pod) if subscript[1].endswith("annotations") else labels_of(pod)
        return source.get(subscript[2], "")
    host_ips = node.host_ips
    plain = {
        "metadata.name": name_of(pod),
        "metadata.namespace": namespace_of(pod),
        "metadata.uid": uid_of(pod),
        "spec.nodeName": str(spec_of(pod).get("nodeName") or node.name),
        "spec.serviceAccountName": str(spec_of(pod).get("serviceAccountName") or ""),
        "status.hostIP": host_ips[0] if host_ips else "",
        "status.hostIPs": ",".join(host_ips),
        "status.podIP": pod_ips[0] if pod_ips else "",
        "status.podIPs": ",".join(pod_ips),
    }
    if path in plain:
        return plain[path]
    if path in ("metadata.annotations", "metadata.labels"):
        source = annotations_of(pod) if path.endswith("annotations") else labels_of(pod)
        return "\n".join(f"{key}={go_quote(source[key])}" for key in sorted(source))
    raise FieldProblem(f"unsupported fieldPath: {path}")


def resource_value(pod: Object, reference: Object, container: Object | None, *, node: NodeFacts) -> str:
    """The text of a ``resourceFieldRef``, rounded up to whole divisors."""
    name = reference.get("containerName")
    if name:
        found = find_container(pod, name)
        if found is None:
            raise FieldProblem(f"container {name} not found")
        container = found[1]
    if container is None:
        raise FieldProblem("containerName is required")
    which, _, resource = str(reference.get("resource", "")).partition(".")
    if which not in ("limits", "requests") or not resource:
        raise FieldProblem(f"unsupported container resource : {reference.get('resource')}")
    resources = container.get("resources") or {}
    value = (resources.get(which) or {}).get(resource)
    if value is None and which == "limits":
        value = node.allocatable.get(resource)
    divisor = reference.get("divisor")
    return str(_whole_divisors(resource, value or "0", divisor if divisor not in (None, "", "0") else "1"))


def _whole_divisors(resource: str, value: str | int | float, divisor: str | int | float) -> int:
    amount, unit = parse_quantity(value), parse_quantity(divisor)
    if resource == "cpu":
        top, bottom = amount.milli(), unit.milli()
    else:
        top, bottom = amount.value(), unit.value()
    return -(-top // bottom)
