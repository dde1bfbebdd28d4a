"""Warnings about pods and pod templates (``k8s.io/kubernetes/pkg/api/pod/warnings.go``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.kinds.common.pod_template_warnings import template_warnings
from minikube_py.machinery.kinds.common.workload import NAME_IN_HOSTNAME, name_warnings
from minikube_py.machinery.objects import Object


def pod_warnings(pod: Object, old: Object | None) -> list[str]:
    """Warnings on creation; updates of pods do not warn."""
    if old is not None:
        return []
    return [*name_warnings(pod, old, NAME_IN_HOSTNAME), *template_warnings("", _as_template(pod))]


def _as_template(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"metadata": pod.get("metadata") or {}, "spec": pod.get("spec") or {}}
