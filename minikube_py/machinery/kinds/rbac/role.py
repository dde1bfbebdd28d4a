"""Role: permissions within one namespace."""

from __future__ import annotations

from minikube_py.machinery.errors import FieldError
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.common.strategy import keeping_empty, wire_form
from minikube_py.machinery.kinds.rbac.rules import rule_errors
from minikube_py.machinery.names import name_is_path_segment
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import ROLES

DEFINITION = "io.k8s.api.rbac.v1.Role"

_default, _prepare = keeping_empty(wire_form(DEFINITION), "rules")


def validate(role: Object) -> list[FieldError]:
    """``ValidateRole``."""
    return rule_errors(role.get("rules") or (), namespaced=True)


KIND = Kind(
    resource=ROLES,
    singular="role",
    definition=DEFINITION,
    default=_default,
    prepare_create=_prepare,
    prepare_update=lambda new, old: _prepare(new),
    validate=validate,
    validate_update=lambda new, old: 2 * validate(new),  # so often does the strategy ask
    name_errors=name_is_path_segment,
    create_on_update=True,
)
