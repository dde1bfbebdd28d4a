"""Resources inside resources (``x-kubernetes-embedded-resource``): their type and metadata are checked too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from minikube_py.machinery.custom_resources.places import EMBEDDED, Place
from minikube_py.machinery.errors import FieldError, invalid_value, required
from minikube_py.machinery.kinds.common.metadata import object_meta_errors
from minikube_py.machinery.names import dns1035_label_errors, name_is_path_segment


def embedded_errors(place: Place, value: Any, path: str = "") -> Iterator[FieldError]:
    """``objectmeta.Validate`` for everything below the root."""
    if not place.below & EMBEDDED:
        return
    if isinstance(value, dict):
        if path and place.here & EMBEDDED:
            yield from _resource_errors(value, path)
        for key, inner in place.properties.items():
            if key in value:
                yield from embedded_errors(inner, value[key], f"{path}.{key}" if path else key)
        if place.additional is not None:
            declared = place.declared
            for key, item in value.items():
                if key not in declared:
                    yield from embedded_errors(place.additional, item, f"{path}[{key}]")
    elif isinstance(value, list) and place.items is not None:
        for index, item in enumerate(value):
            yield from embedded_errors(place.items, item, f"{path}[{index}]")


def _resource_errors(value: dict[str, Any], path: str) -> Iterator[FieldError]:
    for name in ("apiVersion", "kind"):
        if name not in value:
            yield required(f"{path}.{name}")
        elif not isinstance(value[name], str):
            yield invalid_value(f"{path}.{name}", value[name], "must be a string")
        elif not value[name]:
            yield required(f"{path}.{name}")
    version, kind = value.get("apiVersion"), value.get("kind")
    if isinstance(version, str) and version.count("/") > 1:
        yield invalid_value(f"{path}.apiVersion", version, f"unexpected GroupVersion string: {version}")
    wrong = dns1035_label_errors(kind.lower()) if isinstance(kind, str) and kind else []
    if wrong:
        text = f"may have mixed case, but should otherwise match: {','.join(wrong)}"
        yield invalid_value(f"{path}.kind", kind, text)
    meta = value.get("metadata")
    if isinstance(meta, dict):
        named = {**meta, "name": meta.get("name") or "fakename"}
        yield from object_meta_errors(
            f"{path}.metadata", named, namespaced=bool(meta.get("namespace")), name_errors=name_is_path_segment
        )
    elif "metadata" in value:
        yield invalid_value(f"{path}.metadata", meta, "must be an object")
