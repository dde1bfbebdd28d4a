"""The kinds of one API group, in the order in which discovery lists them."""

from __future__ import annotations

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.apiregistration import (
    api_service,
)

KINDS: tuple[Kind, ...] = (api_service.KIND,)
