"""Which objects a list or watch is about: namespace, name, label selector, field selector.

A ``Selection`` is compiled once for a request. ``matches`` decides for one object; watches and
informers use ``transition`` for a change, which may turn an update into an addition or a deletion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from minikube_py.components.apiserver.storage.cache import CacheEvent
from minikube_py.components.apiserver.storage.entry import Entry
from minikube_py.machinery.errors import bad_request, go_quote
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.selectors import (
    EVERYTHING,
    FieldSelector,
    Selector,
    parse_field_selector,
    parse_label_selector,
)

ADDED, MODIFIED, DELETED = "ADDED", "MODIFIED", "DELETED"
_ALWAYS_SELECTABLE = ("metadata.name", "metadata.namespace")


@dataclass(frozen=True, slots=True)
class Selection:
    """Objects of one kind; ``text`` is equal for selections with equal outcome in equal scope."""

    namespace: str
    name: str
    labels: Selector
    fields: tuple[tuple[Callable[[Entry], str], bool, str], ...]
    text: str

    @property
    def everything(self) -> bool:
        """Whether every object of the namespace matches."""
        return not self.name and not self.fields and self.labels.empty

    def in_scope(self, namespace: str, name: str) -> bool:
        return (not self.namespace or namespace == self.namespace) and (not self.name or name == self.name)

    def matches(self, entry: Entry) -> bool:
        """Whether an object of the right namespace and name passes the selectors."""
        for value_of, wanted, value in self.fields:
            if (value_of(entry) == value) != wanted:
                return False
        return self.labels.empty or self.labels.matches(entry.labels)

    def transition(self, event: CacheEvent) -> tuple[str, Entry] | None:
        """What this selection sees of a change: the event's type and the state it carries, or None."""
        if not self.in_scope(event.namespace, event.name):
            return None
        current, previous = event.current, event.previous
        if self.fields and current is not None:
            current.object  # noqa: B018  # parsed once for all watches that look into it
        now = current is not None and (self.everything or self.matches(current))
        before = previous is not None and (self.everything or self.matches(previous))
        if now and current is not None:
            return (MODIFIED if before else ADDED), current
        return (DELETED, event.gone) if before else None


def select(kind: Kind, namespace: str = "", *, name: str = "", labels: str = "", fields: str = "") -> Selection:
    """Compile selector texts for a kind. ApiError 400 for malformed selectors and unknown fields."""
    selector = parse_label_selector(labels) if labels else EVERYTHING
    conditions: list[tuple[Callable[[Entry], str], bool, str]] = []
    if fields:
        parsed = parse_field_selector(fields)
        check_fields(kind, parsed)
        exact = parsed.exact("metadata.name")
        if exact and not name:
            name = exact
        for path, operator, value in parsed.requirements:
            conditions.append((_reader(kind, path), operator == "=", value))
    text = f"{namespace}/{name}?{selector}&{fields}"
    return Selection(namespace, name, selector, tuple(conditions), text)


def check_fields(kind: Kind, selector: FieldSelector) -> None:
    """Refuse fields that cannot be selected, with the text of the kind's conversion function."""
    for path, _, _ in selector.requirements:
        if path in kind.selectable or (path in _ALWAYS_SELECTABLE and not _hides_namespace(kind, path)):
            continue
        custom = kind.extra.get("unsupported_field")
        if custom:
            raise bad_request(str(custom).format(field=path))
        if kind.selectable:
            resource = kind.resource
            group_version = f"{resource.group}/{resource.version}" if resource.group else f"/{resource.version}"
            raise bad_request(f"field label not supported for {group_version}, Kind={resource.kind}: {path}")
        raise bad_request(f'{go_quote(path)} is not a known field selector: only "metadata.name", "metadata.namespace"')


def _hides_namespace(kind: Kind, path: str) -> bool:
    return path == "metadata.namespace" and not kind.resource.namespaced and bool(kind.selectable)


def _reader(kind: Kind, path: str) -> Callable[[Entry], str]:
    if path == "metadata.name":
        return lambda entry: entry.name
    if path == "metadata.namespace":
        return lambda entry: entry.namespace
    read = kind.selectable[path]
    return lambda entry: read(entry.peek())
