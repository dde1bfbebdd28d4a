"""IngressClass: which controller serves an Ingress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, forbidden_field, invalid_value, required, too_long
from minikube_py.machinery.kind import Cell, Kind
from minikube_py.machinery.kinds.common.checks import label, one_of, subdomain
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name, part
from minikube_py.machinery.kinds.common.setting import set_default
from minikube_py.machinery.kinds.common.strategy import defaults, immutable
from minikube_py.machinery.names import domain_prefixed_path_errors, path_segment_errors
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import Resource

DEFINITION = "io.k8s.api.networking.v1.IngressClass"
_MAX_CONTROLLER = 250


def fill(ingress_class: Object) -> None:
    """Parameters are cluster-scoped unless they say otherwise."""
    parameters = (ingress_class.get("spec") or {}).get("parameters")
    if parameters is not None:
        set_default(parameters, scope="Cluster")


def validate(ingress_class: Object) -> list[FieldError]:
    """``ValidateIngressClass``."""
    spec = ingress_class.get("spec") or {}
    controller = spec.get("controller") or ""
    errors: list[FieldError] = []
    if len(controller) > _MAX_CONTROLLER:
        errors.append(too_long("spec.controller", _MAX_CONTROLLER))
    if not controller:
        errors.append(required("spec.controller"))
    else:
        errors += [invalid_value("spec.controller", controller, text) for text in
                   domain_prefixed_path_errors(controller)]  # fmt: skip
    return errors + _parameter_errors("spec.parameters", spec.get("parameters"))


def _parameter_errors(path: str, parameters: Mapping[str, Any] | None) -> list[FieldError]:
    if parameters is None:
        return []
    errors: list[FieldError] = []
    if parameters.get("apiGroup") is not None:
        errors += subdomain(f"{path}.apiGroup", parameters["apiGroup"])
    for field in ("kind", "name"):
        value = parameters.get(field) or ""
        if not value:
            errors.append(required(f"{path}.{field}"))
        else:
            errors += [invalid_value(f"{path}.{field}", value, text) for text in path_segment_errors(value)]
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    if scope is None:
        errors.append(required(f"{path}.scope"))
    else:
        errors += one_of(f"{path}.scope", scope, ("Cluster", "Namespace"))
    if namespace is not None and scope == "Cluster":
        errors.append(forbidden_field(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'"))
    elif scope == "Namespace":
        if namespace is None:
            errors.append(required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'"))
        else:
            errors += label(f"{path}.namespace", namespace)
    return errors


def validate_update(ingress_class: Object, old: Object) -> list[FieldError]:
    """``ValidateIngressClassUpdate``: the controller never changes."""
    controllers = [(obj.get("spec") or {}).get("controller") or "" for obj in (ingress_class, old)]
    return immutable("spec.controller", *controllers) + validate(ingress_class)


def row(ingress_class: Mapping[str, Any], now: float) -> Sequence[Cell]:
    spec = part(ingress_class, "spec")
    parameters, shown = spec.get("parameters"), "<none>"
    if parameters is not None:
        shown = parameters.get("kind") or ""
        if parameters.get("apiGroup"):
            shown = f"{shown}.{parameters['apiGroup']}"
        shown = f"{shown}/{parameters.get('name') or ''}"
    return (name(ingress_class), spec.get("controller") or "", shown, age(ingress_class, now))


KIND = Kind(
    resource=Resource("networking.k8s.io", "v1", "ingressclasses", "IngressClass", namespaced=False),
    singular="ingressclass",
    definition=DEFINITION,
    default=defaults(DEFINITION, fill),
    validate=validate,
    validate_update=validate_update,
    generation=True,
    columns=(
        NAME,
        column("Controller", text="Controller that is responsible for handling this class"),
        column("Parameters", text="A reference to a resource with additional parameters"),
        AGE,
    ),
    row=row,
)
