"""The kinds of one API group, in the order in which discovery lists them."""

from __future__ import annotations

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.rbac import (
    cluster_role,
    cluster_role_binding,
    role,
    role_binding,
)

KINDS: tuple[Kind, ...] = (
    cluster_role_binding.KIND,
    cluster_role.KIND,
    role_binding.KIND,
    role.KIND,
)
