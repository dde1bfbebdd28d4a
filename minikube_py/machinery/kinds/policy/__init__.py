"""The kinds of one API group, in the order in which discovery lists them."""

from __future__ import annotations

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.policy import (
    pod_disruption_budget,
)

KINDS: tuple[Kind, ...] = (pod_disruption_budget.KIND,)
