"""The kinds of one API group, in the order in which discovery lists them."""

from __future__ import annotations

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.networking import (
    ingress,
    ingress_class,
    ip_address,
    network_policy,
    service_cidr,
)

KINDS: tuple[Kind, ...] = (
    ingress_class.KIND,
    ingress.KIND,
    ip_address.KIND,
    network_policy.KIND,
    service_cidr.KIND,
)
