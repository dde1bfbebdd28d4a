"""RuntimeClass: how the containers of a pod are run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, duplicate
from minikube_py.machinery.kind import Cell, Kind
from minikube_py.machinery.kinds.common.checks import Errors, label
from minikube_py.machinery.kinds.common.go_values import go_object
from minikube_py.machinery.kinds.common.metadata import label_errors
from minikube_py.machinery.kinds.common.node_labels import DEPRECATED_LABELS
from minikube_py.machinery.kinds.common.podspec.scheduling import toleration_errors
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name
from minikube_py.machinery.kinds.common.resource_names import requirements_errors
from minikube_py.machinery.kinds.common.strategy import immutable, wire_form
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import RUNTIME_CLASSES

DEFINITION = "io.k8s.api.node.v1.RuntimeClass"


def validate(runtime_class: Object) -> list[FieldError]:
    """``ValidateRuntimeClass``."""
    errors: Errors = label("handler", runtime_class.get("handler") or "")
    errors += requirements_errors("overhead", {"limits": (runtime_class.get("overhead") or {}).get("podFixed")})
    scheduling = runtime_class.get("scheduling") or {}
    errors += label_errors("scheduling.nodeSelector", scheduling.get("nodeSelector"))
    tolerations = scheduling.get("tolerations") or ()
    errors += toleration_errors("scheduling.tolerations", tolerations)
    return errors + _twice_tolerated_errors("scheduling.tolerations", tolerations)


def _twice_tolerated_errors(path: str, tolerations: Sequence[Mapping[str, Any]]) -> Errors:
    """Tolerations are told apart by all but their seconds."""
    errors: Errors = []
    seen = set()
    for index, toleration in enumerate(tolerations):
        key = tuple(toleration.get(field) or "" for field in ("key", "operator", "value", "effect"))
        if key in seen:
            errors.append(duplicate(f"{path}[{index}]", go_object("Toleration", toleration)))
        seen.add(key)
    return errors


def validate_update(runtime_class: Object, old: Object) -> list[FieldError]:
    """The handler never changes."""
    return validate(runtime_class) + immutable("handler", runtime_class.get("handler"), old.get("handler"))


def warnings(runtime_class: Object, old: Object | None) -> list[str]:
    """Pods that are sent to deprecated labels of nodes."""
    wanted = (runtime_class.get("scheduling") or {}).get("nodeSelector") or {}
    return [f"scheduling.nodeSelector: {DEPRECATED_LABELS[key]}" for key in wanted if key in DEPRECATED_LABELS]


def row(runtime_class: Mapping[str, Any], now: float) -> Sequence[Cell]:
    return (name(runtime_class), runtime_class.get("handler") or "", age(runtime_class, now))


KIND = Kind(
    resource=RUNTIME_CLASSES,
    singular="runtimeclass",
    definition=DEFINITION,
    default=wire_form(DEFINITION),
    validate=validate,
    validate_update=validate_update,
    warnings=warnings,
    create_on_update=True,
    unconditional_update=False,
    columns=(NAME, column("Handler"), AGE),
    row=row,
)
