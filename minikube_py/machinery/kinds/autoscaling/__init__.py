"""The kinds of one API group, in the order in which discovery lists them."""

from __future__ import annotations

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.autoscaling import (
    horizontal_pod_autoscaler_v1,
    horizontal_pod_autoscaler_v2,
)

KINDS: tuple[Kind, ...] = (
    horizontal_pod_autoscaler_v2.KIND,
    horizontal_pod_autoscaler_v1.KIND,
)
