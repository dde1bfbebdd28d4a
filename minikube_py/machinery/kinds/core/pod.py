"""Pod: containers that run together on one node."""

from __future__ import annotations

from minikube_py.machinery.kind import Alike, Kind, Subresource
from minikube_py.machinery.kinds.common.pod_defaults import default_pod
from minikube_py.machinery.kinds.common.printing import part, yes_no
from minikube_py.machinery.kinds.common.strategy import defaults, wire_form
from minikube_py.machinery.kinds.core import pod_app_armor, pod_printer, pod_strategy, pod_validation
from minikube_py.machinery.kinds.core.pod_likeness import likeness
from minikube_py.machinery.kinds.core.pod_resize import validate_resize
from minikube_py.machinery.kinds.core.pod_warnings import pod_warnings
from minikube_py.machinery.resources import PODS

_PROXY_VERBS = ("create", "delete", "get", "patch", "update")

KIND = Kind(
    resource=PODS,
    singular="pod",
    definition=pod_strategy.DEFINITION,
    short_names=("po",),
    categories=("all",),
    subresources=(
        Subresource("attach", ("create", "get"), kind="PodAttachOptions"),
        Subresource("binding", ("create",), kind="Binding"),
        Subresource("ephemeralcontainers"),
        Subresource("eviction", ("create",), kind="Eviction", group="policy", version="v1"),
        Subresource("exec", ("create", "get"), kind="PodExecOptions"),
        Subresource("log", ("get",)),
        Subresource("portforward", ("create", "get"), kind="PodPortForwardOptions"),
        Subresource("proxy", _PROXY_VERBS, kind="PodProxyOptions"),
        Subresource("resize"),
        Subresource("status"),
    ),
    default=defaults(pod_strategy.DEFINITION, default_pod),
    prepare_create=pod_strategy.prepare_create,
    prepare_update=pod_strategy.prepare_update,
    prepare_status=pod_strategy.prepare_status,
    validate=pod_validation.validate_pod,
    validate_update=pod_validation.validate_pod_update,
    validate_status=pod_validation.validate_pod_status,
    early_warnings=pod_app_armor.early_warnings,
    warnings=pod_warnings,
    alike=Alike(likeness, wire_form(pod_strategy.DEFINITION)),
    generation=True,
    has_status=True,
    grace_period=pod_strategy.grace_period,
    columns=pod_printer.COLUMNS,
    row=pod_printer.row,
    selectable={
        "spec.host": lambda pod: str(part(pod, "spec").get("nodeName") or ""),  # what nodeName was called once
        "spec.nodeName": lambda pod: str(part(pod, "spec").get("nodeName") or ""),
        "spec.restartPolicy": lambda pod: str(part(pod, "spec").get("restartPolicy") or ""),
        "spec.schedulerName": lambda pod: str(part(pod, "spec").get("schedulerName") or ""),
        "spec.serviceAccountName": lambda pod: str(part(pod, "spec").get("serviceAccountName") or ""),
        "spec.hostNetwork": lambda pod: yes_no(part(pod, "spec").get("hostNetwork")),
        "status.phase": lambda pod: str(part(pod, "status").get("phase") or ""),
        "status.podIP": lambda pod: next(iter(_pod_ips(pod)), ""),
        "status.podIPs": lambda pod: "",  # known as a label, but not part of a pod's field set
        "status.nominatedNodeName": lambda pod: str(part(pod, "status").get("nominatedNodeName") or ""),
    },
    extra={
        "unsupported_field": "field label not supported: {field}",
        "row_conditions": pod_printer.row_conditions,
        "validate_ephemeralcontainers": pod_validation.validate_ephemeral_containers_update,
        "validate_resize": validate_resize,
    },
)


def _pod_ips(pod: dict[str, object]) -> list[str]:
    return [str(entry.get("ip", "")) for entry in part(pod, "status").get("podIPs") or ()]
