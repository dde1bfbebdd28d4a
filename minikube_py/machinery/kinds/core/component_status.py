"""ComponentStatus: the deprecated health list. It is computed, never stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.kind import Cell, Kind
from minikube_py.machinery.kinds.common.printing import NAME, column, name
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import Resource


def row(status: Mapping[str, Any], now: float) -> Sequence[Cell]:
    """Name, health, message and error of the component."""
    shown, message, error = "Unknown", "", ""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Healthy":
            shown = "Healthy" if condition.get("status") == "True" else "Unhealthy"
            message, error = condition.get("message") or "", condition.get("error") or ""
            break
    return (name(status), shown, message, error)


def warnings(obj: Object, old: Object | None) -> list[str]:
    """The kind has been deprecated since v1.19."""
    return ["v1 ComponentStatus is deprecated in v1.19+"]


KIND = Kind(
    resource=Resource("", "v1", "componentstatuses", "ComponentStatus", namespaced=False),
    singular="componentstatus",
    definition="io.k8s.api.core.v1.ComponentStatus",
    short_names=("cs",),
    verbs=("get", "list"),
    columns=(
        NAME,
        column("Status", text="Status of the component conditions"),
        column("Message", text="Message of the component conditions"),
        column("Error", text="Error of the component conditions"),
    ),
    row=row,
    warnings=warnings,
    extra={"virtual": True},
)
