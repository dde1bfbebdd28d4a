"""The kinds of one API group, in the order in which discovery lists them."""

from __future__ import annotations

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.flowcontrol import (
    flow_schema,
    priority_level_configuration,
)

KINDS: tuple[Kind, ...] = (
    flow_schema.KIND,
    priority_level_configuration.KIND,
)
