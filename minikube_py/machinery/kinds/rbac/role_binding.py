"""RoleBinding: grants a role within one namespace."""

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
from minikube_py.machinery.resources import ROLE_BINDINGS

DEFINITION = "io.k8s.api.rbac.v1.RoleBinding"
_KINDS = ("Role", "ClusterRole")


def validate(binding: Object) -> list[FieldError]:
    return binding_errors(binding, kinds=_KINDS, namespaced=True)


def validate_update(binding: Object, old: Object) -> list[FieldError]:
    return binding_update_errors(validate(binding), binding, old)


KIND = Kind(
    resource=ROLE_BINDINGS,
    singular="rolebinding",
    definition=DEFINITION,
    default=defaults(DEFINITION, default_binding),
    validate=validate,
    validate_update=validate_update,
    name_errors=name_is_path_segment,
    create_on_update=True,
    columns=binding_columns("roleBinding"),
    row=binding_row,
)
