"""The kinds of one API group, in the order in which discovery lists them."""

from __future__ import annotations

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.resource import (
    device_class,
    resource_claim,
    resource_claim_template,
    resource_slice,
)

KINDS: tuple[Kind, ...] = (
    device_class.KIND,
    resource_claim.KIND,
    resource_claim_template.KIND,
    resource_slice.KIND,
)
