"""The operations that a set of kinds serves, as OpenAPI names and describes them.

In: declared kinds. Out: one ``Operation`` for each path and method, in no document's form yet. Operation
identifiers follow the reference (``listCoreV1NamespacedPod``), because generators of client libraries
name their functions after them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from minikube_py.machinery.kind import Kind, Subresource
from minikube_py.machinery.schema import definitions

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
STATUS, PATCH, DELETE_OPTIONS = _META + "Status", _META + "Patch", _META + "DeleteOptions"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter in the path or the query."""

    name: str
    place: str
    type: str
    description: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path; ``body`` and ``result`` are names of definitions ("": none, or text)."""

    path: str
    method: str
    action: str
    operation_id: str
    description: str
    tag: str
    group: str
    version: str
    kind: str
    parameters: tuple[Parameter, ...]
    body: str = ""
    result: str = ""
    custom: bool = False
    """Of a kind that a CustomResourceDefinition declares: no strategic merge patch, no protobuf."""


def _query(name: str, type: str, description: str) -> Parameter:
    return Parameter(name, "query", type, description)


_NAMESPACE = Parameter("namespace", "path", "string", "object name and auth scope, such as for teams and projects")
_PRETTY = _query("pretty", "string", "If 'true', then the output is pretty printed.")
_LIST = (
    _query("allowWatchBookmarks", "boolean", "Requests watch events with type BOOKMARK."),
    _query("continue", "string", "Continues a list that was cut by limit."),
    _query("fieldSelector", "string", "Restricts the returned objects by their fields."),
    _query("labelSelector", "string", "Restricts the returned objects by their labels."),
    _query("limit", "integer", "The most objects that a response carries."),
    _query("resourceVersion", "string", "Sets a constraint on what resource versions a request may be served from."),
    _query("resourceVersionMatch", "string", "Determines how resourceVersion is applied to list calls."),
    _query("sendInitialEvents", "boolean", "Begins a watch with synthetic events for the present state."),
    _query("timeoutSeconds", "integer", "Timeout of the list or watch call."),
    _query("watch", "boolean", "Watches for changes instead of listing."),
)
_WRITE = (
    _query("dryRun", "string", "With the value All, nothing is persisted."),
    _query("fieldManager", "string", "The name of the actor that makes these changes."),
    _query("fieldValidation", "string", "What to do with unknown and duplicate fields: Ignore, Warn or Strict."),
)
_FORCE = _query("force", "boolean", "Takes fields of other managers over. Only for apply patches.")
_DELETE = (
    _query("dryRun", "string", "With the value All, nothing is persisted."),
    _query("gracePeriodSeconds", "integer", "Seconds before the object is deleted; zero means at once."),
    _query("orphanDependents", "boolean", "Deprecated: use propagationPolicy."),
    _query("propagationPolicy", "string", "Whether and how dependents are deleted: Orphan, Background, Foreground."),
)


def operations(kinds: Iterable[Kind]) -> list[Operation]:
    """Every operation of these kinds."""
    return [operation for kind in kinds for operation in _of_kind(kind)]


def _of_kind(kind: Kind) -> Iterator[Operation]:
    resource = kind.resource
    scope = "Namespaced" if resource.namespaced else ""
    namespaced = (_NAMESPACE,) if resource.namespaced else ()
    collection = resource.path("{namespace}" if resource.namespaced else None)
    verbs = set(kind.verbs)
    make = _Maker(kind, scope)
    if "list" in verbs:
        yield make(collection, "get", "list", (*namespaced, _PRETTY, *_LIST), result=kind.definition + "List")
        if resource.namespaced:
            everywhere = resource.path()
            yield make(everywhere, "get", "list", (_PRETTY, *_LIST), result=kind.definition + "List", everywhere=True)
    if "create" in verbs:
        write = (*namespaced, _PRETTY, *_WRITE)
        yield make(collection, "post", "post", write, body=kind.definition, result=kind.definition)
    if "deletecollection" in verbs:
        drop = (*namespaced, _PRETTY, *_LIST, *_DELETE)
        yield make(collection, "delete", "deletecollection", drop, body=DELETE_OPTIONS, result=STATUS)
    name = Parameter("name", "path", "string", f"name of the {resource.kind}")
    item = f"{collection}/{{name}}"
    base = (name, *namespaced, _PRETTY)
    yield from _item_operations(make, item, base, verbs, kind.definition)
    for sub in kind.subresources:
        yield from _of_subresource(make, kind, sub, f"{item}/{sub.name}", base)


def _item_operations(
    make: _Maker, path: str, base: tuple[Parameter, ...], verbs: set[str], definition: str, sub: str = ""
) -> Iterator[Operation]:
    if "get" in verbs:
        yield make(path, "get", "get", base, result=definition, sub=sub)
    if "update" in verbs:
        yield make(path, "put", "put", (*base, *_WRITE), body=definition, result=definition, sub=sub)
    if "patch" in verbs:
        yield make(path, "patch", "patch", (*base, *_WRITE, _FORCE), body=PATCH, result=definition, sub=sub)
    if "delete" in verbs:
        yield make(path, "delete", "delete", (*base, *_DELETE), body=DELETE_OPTIONS, result=STATUS, sub=sub)


def _of_subresource(
    make: _Maker, kind: Kind, sub: Subresource, path: str, base: tuple[Parameter, ...]
) -> Iterator[Operation]:
    definition = _subresource_definition(kind, sub)
    connected = sub.name in ("exec", "attach", "portforward", "proxy", "log")
    if connected:
        for verb in sub.verbs:
            method = {"get": "get", "create": "post", "update": "put", "patch": "patch", "delete": "delete"}[verb]
            action = "get" if sub.name == "log" else "connect"
            yield make(path, method, action, base, sub=sub.name)
        return
    if "create" in sub.verbs:
        yield make(path, "post", "post", (*base, *_WRITE), body=definition, result=definition, sub=sub.name)
    yield from _item_operations(make, path, base, set(sub.verbs), definition, sub.name)


def _subresource_definition(kind: Kind, sub: Subresource) -> str:
    """The definition that a subresource speaks: its own kind's, or the parent's."""
    if not sub.kind or sub.kind == kind.resource.kind:
        return kind.definition
    version = sub.version or kind.resource.version
    group = sub.group or ("" if sub.version else kind.resource.group)
    return definitions().definition_of(f"{group}/{version}" if group else version, sub.kind) or ""


class _Maker:
    """Makes operations of one kind: what they share is kept here."""

    __slots__ = ("group_name", "kind", "scope", "tag", "version_name")

    def __init__(self, kind: Kind, scope: str) -> None:
        group = kind.resource.group.partition(".")[0] or "core"
        self.kind, self.scope = kind, scope
        self.tag = f"{group}_{kind.resource.version}"
        self.group_name = group[:1].upper() + group[1:]
        self.version_name = kind.resource.version[:1].upper() + kind.resource.version[1:]

    def __call__(
        self,
        path: str,
        method: str,
        action: str,
        parameters: tuple[Parameter, ...],
        *,
        body: str = "",
        result: str = "",
        sub: str = "",
        everywhere: bool = False,
    ) -> Operation:
        resource = self.kind.resource
        verb = {"get": "read", "post": "create", "put": "replace", "deletecollection": "deleteCollection"}.get(
            action, action
        )
        if action == "connect":
            verb = f"connect{method.capitalize()}"
        scope = "" if everywhere else self.scope
        suffix = "ForAllNamespaces" if everywhere else sub[:1].upper() + sub[1:]
        identifier = f"{verb}{self.group_name}{self.version_name}{scope}{resource.kind}{suffix}"
        what = f"{sub} of the specified {resource.kind}" if sub else _object_text(action, resource.kind)
        words = {"read": "read", "list": "list or watch", "deleteCollection": "delete collection of"}
        return Operation(
            path, method, action, identifier, f"{words.get(verb, verb)} {what}", self.tag, resource.group,
            resource.version, resource.kind, parameters, body, result, "custom" in self.kind.extra,
        )  # fmt: skip


def _object_text(action: str, kind: str) -> str:
    if action in ("list", "deletecollection"):
        return f"objects of kind {kind}" if action == "list" else kind
    return f"a {kind}" if action == "post" else f"the specified {kind}"
