"""What printer rows are made of: ages and durations as kubectl shows them, and columns.

The texts are those of ``k8s.io/apimachinery/pkg/util/duration`` and of
``k8s.io/kubernetes/pkg/printers/internalversion``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from minikube_py.machinery.kind import Column
from minikube_py.machinery.objects import Object
from minikube_py.machinery.schema import definitions
from minikube_py.machinery.times import parse_time

META = "io.k8s.apimachinery.pkg.apis.meta.v1"
NAME = Column("Name", "string", "name", described_by=f"{META}.ObjectMeta.name")
AGE = Column("Age", "string", described_by=f"{META}.ObjectMeta.creationTimestamp")
CREATED_AT = Column("Created At", "date", described_by=f"{META}.ObjectMeta.creationTimestamp")

CONTAINERS = Column("Containers", "string", "", "Names of each container in the template.", 1)
IMAGES = Column("Images", "string", "", "Images referenced by each container in the template.", 1)


def column(name: str, of: str = "", *, type: str = "string", text: str = "", wide: bool = False) -> Column:
    """A column described by ``text`` or by the OpenAPI property ``of``."""
    return Column(name, type, "", text, 1 if wide else 0, of)


def column_description(shown: Column) -> str:
    """The column's description; looked up in the OpenAPI definitions where the column only refers to them."""
    if shown.description or not shown.described_by:
        return shown.description
    definition, _, field = shown.described_by.rpartition(".")
    found = (definitions().raw(definition).get("properties") or {}).get(field) or {}
    return str(found.get("description") or "")


def human_duration(seconds: float) -> str:
    """A duration as ``duration.HumanDuration`` shows it: two units at most, coarser the longer it is."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 120:
        return f"{whole}s"
    minutes = whole // 60
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    hours = whole // 3600
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(hours // 24, "d", hours % 24, "h")
    days = hours // 24
    if days < 730:
        return f"{days}d"
    if days < 2920:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def since(timestamp: Any, now: float) -> str:
    """How long ago an RFC 3339 time was; ``<unknown>`` when it is unset."""
    return human_duration(now - parse_time(timestamp)) if timestamp else "<unknown>"


def age(obj: Mapping[str, Any], now: float) -> str:
    return since((obj.get("metadata") or {}).get("creationTimestamp"), now)


def name(obj: Mapping[str, Any]) -> str:
    return str((obj.get("metadata") or {}).get("name", ""))


def part(obj: Mapping[str, Any], *path: str) -> Object:
    """The mapping at a path; an empty one when something on the way is missing."""
    found: Any = obj
    for step in path:
        found = found.get(step)
        if found is None:
            return {}
    result: Object = found
    return result


def joined(values: Iterable[Any]) -> str:
    return ",".join(str(value) for value in values)


def container_names(spec: Mapping[str, Any]) -> str:
    return joined(container.get("name", "") for container in spec.get("containers") or ())


def container_images(spec: Mapping[str, Any]) -> str:
    return joined(container.get("image", "") for container in spec.get("containers") or ())


def label_text(labels: Mapping[str, str] | None) -> str:
    """``a=b,c=d``, or ``<none>``."""
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or "<none>"


_SYMBOLS = {"In": "in", "NotIn": "notin"}


def selector_text(selector: Mapping[str, Any] | None) -> str:
    """A LabelSelector as ``metav1.FormatLabelSelector`` prints it."""
    if selector is None:
        return "<none>"
    parts = [(key, f"{key}={value}") for key, value in (selector.get("matchLabels") or {}).items()]
    parts += [(wanted.get("key", ""), _expression_text(wanted)) for wanted in selector.get("matchExpressions") or ()]
    return ",".join(text for _, text in sorted(parts, key=lambda item: item[0])) or "<none>"


def _expression_text(expression: Mapping[str, Any]) -> str:
    key, operator = expression.get("key", ""), expression.get("operator", "")
    if operator == "Exists":
        return str(key)
    if operator == "DoesNotExist":
        return f"!{key}"
    values = ",".join(sorted(expression.get("values") or ()))
    return f"{key} {_SYMBOLS.get(operator, operator)} ({values})"


def yes_no(value: Any) -> str:
    """A boolean as Go prints it."""
    return "true" if value else "false"
