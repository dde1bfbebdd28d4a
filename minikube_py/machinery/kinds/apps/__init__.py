"""The kinds of one API group, in the order in which discovery lists them."""

from __future__ import annotations

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.apps import (
    controller_revision,
    daemon_set,
    deployment,
    replica_set,
    stateful_set,
)

KINDS: tuple[Kind, ...] = (
    controller_revision.KIND,
    daemon_set.KIND,
    deployment.KIND,
    replica_set.KIND,
    stateful_set.KIND,
)
