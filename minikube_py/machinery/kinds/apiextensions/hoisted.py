"""A definition's spec in the form Kubernetes validates: what all versions share is said once.

The internal type holds schema, subresources, printer columns and selectable fields at the top when every
version says the same (a single version always does), and its versions then lack them. Error paths and
printed versions follow that form: ``spec.validation.openAPIV3Schema``, not ``spec.versions[0].schema``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """What can be said for one version or for all of them, with the paths of its fields."""

    path: str
    schema: Json | None
    subresources: Json | None
    columns: Sequence[Json]
    selectable: Sequence[Json]
    schema_path: str


@dataclass(frozen=True, slots=True)
class Hoisted:
    """``shared`` is the top level; ``versions`` are in the order of the spec, without what was hoisted."""

    shared: Part
    versions: tuple[Json, ...]

    def part(self, index: int) -> Part:
        """What one version says for itself."""
        version, path = self.versions[index], f"spec.versions[{index}]"
        return _part(path, version, f"{path}.schema")

    def status_enabled(self, index: int) -> bool:
        """Whether this version has the status subresource."""
        if any(version.get("subresources") is not None for version in self.versions):
            return _has_status(self.versions[index].get("subresources"))
        return _has_status(self.shared.subresources)

    @property
    def any_status_enabled(self) -> bool:
        return _has_status(self.shared.subresources) or any(_has_status(v.get("subresources")) for v in self.versions)

    def schemas(self) -> Iterator[Json]:
        """Every ``openAPIV3Schema``, each one once."""
        for holder in (self.shared.schema, *(version.get("schema") for version in self.versions)):
            if holder and holder.get("openAPIV3Schema") is not None:
                yield holder["openAPIV3Schema"]


_FIELDS = ("schema", "subresources", "additionalPrinterColumns", "selectableFields")


def hoist(spec: Json) -> Hoisted:
    """The internal form of a ``spec``; nothing is copied or changed."""
    versions = tuple(spec.get("versions") or ())
    shared: dict[str, Any] = {}
    for field in _FIELDS:
        values = [version.get(field) or None for version in versions]
        if field in ("schema", "subresources"):
            values = [version.get(field) for version in versions]
        if values and all(value == values[0] for value in values):
            shared[field] = values[0]
    kept = tuple({key: value for key, value in version.items() if key not in shared} for version in versions)
    return Hoisted(_part("spec", shared, "spec.validation"), kept)


def _part(path: str, holder: Json, schema_path: str) -> Part:
    return Part(
        path=path,
        schema=holder.get("schema"),
        subresources=holder.get("subresources"),
        columns=holder.get("additionalPrinterColumns") or (),
        selectable=holder.get("selectableFields") or (),
        schema_path=schema_path,
    )


def _has_status(subresources: Json | None) -> bool:
    return subresources is not None and subresources.get("status") is not None
