"""Builders: a node or a pod in one line."""

from __future__ import annotations

from typing import Any

from minikube_py.components.scheduler.node_info import NodeInfo
from minikube_py.components.scheduler.pod_info import PodInfo, pod_info
from minikube_py.machinery.objects import Object


def node(name: str, *, cpu: str = "4", memory: str = "8Gi", pods: int = 110, **fields: Any) -> Object:
    labels = {"kubernetes.io/hostname": name, **fields.pop("labels", {})}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": fields.pop("spec", {}),
        "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": str(pods)}, **fields},
    }


def pod(name: str, *, cpu: str = "", memory: str = "", labels: dict[str, str] | None = None, **spec: Any) -> Object:
    requests = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    container: Object = {"name": "c", "image": "i", "resources": {"requests": requests} if requests else {}}
    container |= spec.pop("container", {})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": spec.pop("namespace", "default"), "uid": f"uid-{name}",
                     "labels": labels or {}},
        "spec": {"schedulerName": "default-scheduler", "containers": [container], **spec},
        "status": {"phase": "Pending"},
    }  # fmt: skip


def info(obj: Object) -> PodInfo:
    return pod_info(obj)


def node_info(obj: Object, *pods: Object) -> NodeInfo:
    made = NodeInfo(obj["metadata"]["name"])
    made.set_node(obj)
    for item in pods:
        made.add_pod(pod_info(item))
    return made
