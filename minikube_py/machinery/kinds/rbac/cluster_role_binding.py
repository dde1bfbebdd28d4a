"""ClusterRoleBinding: grants a ClusterRole in the whole cluster."""

from __future__ import annotations

from minikube_py.machinery.errors import FieldError
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.common.strategy import defaults
from minikube_py.machinery.kinds.rbac.rules import (
    binding_columns,
    binding_errors,
    binding_row,
    binding_update_errors,
    default_binding,
)
from minikube_py.machinery.names import name_is_path_segment
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import CLUSTER_ROLE_BINDINGS

DEFINITION = "io.k8s.api.rbac.v1.ClusterRoleBinding"
_KINDS = ("ClusterRole",)


def validate(binding: Object) -> list[FieldError]:
    return binding_errors(binding, kinds=_KINDS, namespaced=False)


def validate_update(binding: Object, old: Object) -> list[FieldError]:
    return binding_update_errors(validate(binding), binding, old)


KIND = Kind(
    resource=CLUSTER_ROLE_BINDINGS,
    singular="clusterrolebinding",
    definition=DEFINITION,
    default=defaults(DEFINITION, default_binding),
    validate=validate,
    validate_update=validate_update,
    name_errors=name_is_path_segment,
    create_on_update=True,
    columns=binding_columns("clusterRoleBinding"),
    row=binding_row,
)
