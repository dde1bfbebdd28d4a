"""Events about pods and their containers.

An event about a container regards the pod with a ``fieldPath`` of the container, as upstream.
"""

from __future__ import annotations

from minikube_py.client.types import EventRecorder
from minikube_py.components.kubelet.pods.model import find_container
from minikube_py.machinery.objects import Object, metadata


def reference(pod: Object, container: str = "") -> Object:
    """An ObjectReference to the pod, or to one of its containers."""
    meta = metadata(pod)
    found: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {key: meta[key] for key in ("name", "namespace", "uid", "resourceVersion") if key in meta},
    }
    if container:
        place = find_container(pod, container)
        if place is not None:
            found["fieldPath"] = f"spec.{place[0].value}{{{container}}}"
    return found


def note_pod(recorder: EventRecorder, pod: Object, type: str, reason: str, message: str) -> None:
    recorder.event(reference(pod), type, reason, message)


def note_container(recorder: EventRecorder, pod: Object, container: str, type: str, reason: str, message: str) -> None:
    recorder.event(reference(pod, container), type, reason, message)
