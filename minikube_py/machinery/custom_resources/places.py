"""Where in a schema something stands that objects must be looked at for: most places of most schemas have nothing.

``marked_places`` walks a schema once and keeps the places that matter and the way to them, so that the checks of each
object (defaults, lists, embedded resources, rules) descend nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

LISTS, EMBEDDED, DEFAULTS, RULES = 1, 2, 4, 8
"""Lists that are sets or maps, resources in resources, defaults, CEL rules."""
_ASSOCIATIVE = frozenset({"set", "map"})


@dataclass(frozen=True, slots=True)
class Place:
    """A place of a schema with what stands ``here`` and what stands here or ``below``: sums of the marks above."""

    schema: Json
    here: int
    below: int
    properties: Mapping[str, Place]
    additional: Place | None
    items: Place | None

    @property
    def declared(self) -> Json:
        """All properties of the schema, those without marks too; other fields belong to ``additional``."""
        return self.schema.get("properties") or {}


def marked_places(schema: Json) -> Place:
    """The places of a schema with marks, from its root."""
    return _place(schema) or Place(schema, 0, 0, {}, None, None)


def _place(schema: Json) -> Place | None:
    here = _marks(schema)
    properties = {
        name: place for name, inner in (schema.get("properties") or {}).items() if (place := _place(inner)) is not None
    }
    additional, items = _optional(schema.get("additionalProperties")), _optional(schema.get("items"))
    below = here
    for place in (*properties.values(), additional, items):
        if place is not None:
            below |= place.below
    return Place(schema, here, below, properties, additional, items) if below else None


def _optional(schema: Any) -> Place | None:
    return _place(schema) if isinstance(schema, Mapping) else None


def _marks(schema: Json) -> int:
    found = 0
    if schema.get("x-kubernetes-list-type") in _ASSOCIATIVE:
        found |= LISTS
    if schema.get("x-kubernetes-embedded-resource"):
        found |= EMBEDDED
    if "default" in schema:
        found |= DEFAULTS
    if schema.get("x-kubernetes-validations"):
        found |= RULES
    return found
