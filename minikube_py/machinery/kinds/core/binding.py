"""Binding: assigns a pod to a node. It is answered, never stored."""

from __future__ import annotations

from minikube_py.machinery.errors import FieldError, required
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.common.checks import not_supported_in_order
from minikube_py.machinery.kinds.common.strategy import wire_form
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import BINDINGS

DEFINITION = "io.k8s.api.core.v1.Binding"


def validate(binding: Object) -> list[FieldError]:
    """``ValidatePodBinding``: the target is a node with a name."""
    target = binding.get("target") or {}
    errors: list[FieldError] = []
    if target.get("kind") not in (None, "", "Node"):
        errors.append(not_supported_in_order("target.kind", target["kind"], ("Node", "<empty>")))
    if not target.get("name"):
        errors.append(required("target.name"))
    return errors


KIND = Kind(
    resource=BINDINGS,
    singular="binding",
    definition=DEFINITION,
    verbs=("create",),
    default=wire_form(DEFINITION),
    validate=validate,
    extra={"virtual": True},
)
