"""The operations that a set of kinds serves, as OpenAPI names and describes them.

In: declared kinds. Out: one ``Operation`` for each path and method, in no document's form yet. Names, texts,
parameters and answers follow the API server's installer (``endpoints/installer.go``, for custom kinds
apiextensions' ``openapi/builder``), because generators of client libraries name their functions after them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from minikube_py.machinery.kind import RETURNS_DELETED_OBJECT, Kind, Subresource
from minikube_py.machinery.openapi_parameters import (
    DELETE,
    LIST,
    NAMESPACE,
    OPTIONS,
    PATH,
    PRETTY,
    RESOURCE_VERSION,
    REST_OF_PATH,
    SELECT,
    WRITE,
    WRITE_PATCH,
    Parameter,
)
from minikube_py.machinery.schema import definitions

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
STATUS, PATCH, DELETE_OPTIONS = _META + "Status", _META + "Patch", _META + "DeleteOptions"
WATCH_EVENT, API_RESOURCES = _META + "WatchEvent", _META + "APIResourceList"

JSON_TYPES = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
WATCHED_TYPES = (*JSON_TYPES, "application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch")
CUSTOM_TYPES = JSON_TYPES[:2]
ANY_TYPE = ("*/*",)
PATCH_TYPES = (
    "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)  # fmt: skip
# Clients choose by these: kubectl apply sends the strategic form wherever a document offers it.
CUSTOM_PATCH_TYPES = tuple(media for media in PATCH_TYPES if "strategic" not in media)

_OK, _CREATED, _ACCEPTED = "200", "201", "202"
_CONNECTED = frozenset({"attach", "exec", "portforward", "proxy"})
_PROXY_METHODS = ("delete", "get", "head", "options", "patch", "post", "put")
_STREAM_METHODS = ("get", "post")
_DEPRECATED = "deprecated: use the 'watch' parameter with a list operation instead"


@dataclass(frozen=True, slots=True)
class GroupVersionKind:
    group: str
    version: str
    kind: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path; ``body`` and ``result`` are names of definitions ("": none, or text)."""

    path: str
    method: str
    operation_id: str
    description: str
    tag: str
    consumes: tuple[str, ...]
    produces: tuple[str, ...]
    parameters: tuple[Parameter, ...] = ()
    action: str = ""
    kind: GroupVersionKind | None = None
    body: str = ""
    needs_body: bool = True
    result: str = ""
    codes: tuple[str, ...] = (_OK,)
    """The codes of success."""


def operations(kinds: Iterable[Kind]) -> list[Operation]:
    """Every operation of these kinds, and the list of resources of each of their group versions."""
    chosen = list(kinds)
    roots = dict.fromkeys((kind.resource.group, kind.resource.version) for kind in chosen if "custom" not in kind.extra)
    found = [_resource_list(group, version) for group, version in roots]
    return found + [operation for kind in chosen for operation in _of_kind(kind)]


def words(text: str, *, first: bool) -> str:
    """``ToValidOperationID``: letters, digits and underscores; what follows anything else is a capital.

    ``first``: the first letter is a capital too.
    """
    result: list[str] = []
    capital = first
    for char in text:
        if char.isascii() and (char.isalnum() or char == "_"):
            result.append(char.upper() if capital else char)
            capital = False
        else:
            capital = True
    return "".join(result)


def group_word(group: str, *, first: bool) -> str:
    """How operations and tags name a group."""
    return words(group.removesuffix(".k8s.io") or "core", first=first)


def _resource_list(group: str, version: str) -> Operation:
    base = f"/apis/{group}/{version}/" if group else f"/api/{version}/"
    name = f"get{group_word(group, first=True)}{words(version, first=True)}APIResources"
    tag = f"{group_word(group, first=False)}_{words(version, first=False)}"
    return Operation(
        base, "get", name, "get available resources", tag, JSON_TYPES, JSON_TYPES, result=API_RESOURCES
    )  # fmt: skip


def _of_kind(kind: Kind) -> Iterator[Operation]:
    make = _Maker(kind)
    resource = kind.resource
    collection = resource.path("{namespace}" if resource.namespaced else None)
    item = f"{collection}/{{name}}"
    yield from _of_collection(make, collection)
    yield from _of_item(make, item, set(kind.verbs))
    for sub in kind.subresources:
        yield from _of_subresource(make, sub, f"{item}/{sub.name}")
    if "watch" in kind.verbs and not make.custom:
        yield from _watches(make)


def _of_collection(make: _Maker, path: str) -> Iterator[Operation]:
    kind, name, verbs = make.kind, make.kind.resource.kind, set(make.kind.verbs)
    watched = "watch" in verbs and not make.custom
    listed = partial(
        make, method="get", action="list", verb="list", options=LIST, result=kind.list_definition,
        description=f"list {'or watch ' if watched else ''}objects of kind {name}",
        produces=WATCHED_TYPES if watched else (),
    )  # fmt: skip
    if "list" in verbs:
        yield listed(path)
    if "create" in verbs:
        codes = (_OK, _CREATED, _ACCEPTED)
        text = f"create{_article(name)}{name}"
        yield make(path, "post", "post", "create", text, WRITE, body=kind.definition, codes=codes)
    if "deletecollection" in verbs:
        options = LIST if make.custom else (*SELECT, *DELETE)
        yield make(
            path, "delete", "deletecollection", "delete", f"delete collection of {name}", options,
            infix="Collection", body="" if make.custom else DELETE_OPTIONS, needs_body=False, result=STATUS,
        )  # fmt: skip
    if "list" in verbs and kind.resource.namespaced:
        yield listed(kind.resource.path(), everywhere=True)


def _of_item(
    make: _Maker, path: str, verbs: set[str], sub: Subresource | None = None, definition: str = ""
) -> Iterator[Operation]:
    """Reads and writes of one object, or of a subresource that is spoken to like one."""
    name = make.kind.resource.kind
    what = f"{sub.name} of the specified {name}" if sub else f"the specified {name}"
    spoken = definition or make.kind.definition
    if "get" in verbs:
        yield make(path, "get", "get", "read", f"read {what}", make.get_options, sub=sub, result=spoken)
    if "update" in verbs:
        codes = (_OK, _CREATED)
        yield make(path, "put", "put", "replace", f"replace {what}", WRITE, sub=sub, body=spoken, codes=codes)
    if "patch" in verbs:
        yield make(
            path, "patch", "patch", "patch", f"partially update {what}", WRITE_PATCH, sub=sub, body=PATCH,
            result=spoken, codes=make.patch_codes, consumes=make.patch_types,
        )  # fmt: skip
    if "delete" in verbs:
        result = spoken if make.kind.resource.plural in RETURNS_DELETED_OBJECT and not make.custom else STATUS
        yield make(
            path, "delete", "delete", "delete", f"delete{_article(name)}{name}", DELETE, sub=sub,
            body=DELETE_OPTIONS, needs_body=False, result=result, codes=(_OK, _ACCEPTED),
        )  # fmt: skip


def _of_subresource(make: _Maker, sub: Subresource, path: str) -> Iterator[Operation]:
    name = make.kind.resource.kind
    options = OPTIONS.get((name, sub.name), ())
    if sub.name in _CONNECTED:
        yield from _connections(make, sub, path, options)
    elif sub.name == "log":
        types = ("text/plain", *JSON_TYPES)
        yield make(
            path, "get", "get", "read", f"read log of the specified {name}", options, sub=sub, result="", produces=types
        )
    else:
        definition = subresource_definition(make.kind, sub)
        if "create" in sub.verbs:
            codes = (_OK, _CREATED, _ACCEPTED)
            text = f"create {sub.name} of{_article(name)}{name}"
            yield make(path, "post", "post", "create", text, WRITE, sub=sub, body=definition, codes=codes)
        yield from _of_item(make, path, set(sub.verbs), sub, definition)


def _connections(make: _Maker, sub: Subresource, path: str, options: tuple[Parameter, ...]) -> Iterator[Operation]:
    """Streams and proxies; what is proxied to has a path of its own as well."""
    proxy = sub.name == "proxy"
    for method in _PROXY_METHODS if proxy else _STREAM_METHODS:
        text = f"connect {method.upper()} requests to {sub.name} of {make.kind.resource.kind}"
        common: dict[str, Any] = {"sub": sub, "result": "", "produces": ANY_TYPE, "pretty": False}
        infix = method.capitalize()
        yield make(path, method, "connect", "connect", text, options, infix=infix, **common)
        if proxy:
            deeper = (*options, REST_OF_PATH)
            yield make(
                f"{path}/{{path}}", method, "connect", "connect", text, deeper, infix=infix, suffix="WithPath", **common
            )


def _watches(make: _Maker) -> Iterator[Operation]:
    """The paths below ``/watch/``, which old clients know."""
    resource = make.kind.resource
    base = resource.path().removesuffix(resource.plural) + "watch/"
    own = f"namespaces/{{namespace}}/{resource.plural}" if resource.namespaced else resource.plural
    common: dict[str, Any] = {"result": WATCH_EVENT, "produces": WATCHED_TYPES}
    many = f"watch individual changes to a list of {resource.kind}. {_DEPRECATED}."
    one = (
        f"watch changes to an object of kind {resource.kind}. {_DEPRECATED}, "
        "filtered to a single item with the 'fieldSelector' parameter."
    )
    if "list" in make.kind.verbs:
        yield make(base + own, "get", "watchlist", "watch", many, LIST, suffix="List", **common)
    if "list" in make.kind.verbs and resource.namespaced:
        path = base + resource.plural
        yield make(path, "get", "watchlist", "watch", many, LIST, suffix="List", everywhere=True, **common)
    yield make(f"{base}{own}/{{name}}", "get", "watch", "watch", one, LIST, **common)


def subresource_definition(kind: Kind, sub: Subresource) -> str:
    """The definition that a subresource speaks: its own kind's, or the parent's."""
    spoken = _spoken(kind, sub)
    if spoken.kind == kind.resource.kind:
        return kind.definition
    api_version = f"{spoken.group}/{spoken.version}" if spoken.group else spoken.version
    return definitions().definition_of(api_version, spoken.kind) or ""


def _spoken(kind: Kind, sub: Subresource | None) -> GroupVersionKind:
    """What kind of object an operation is about."""
    resource = kind.resource
    if sub is None or not sub.kind or sub.kind == resource.kind:
        return GroupVersionKind(resource.group, resource.version, resource.kind)
    group = sub.group or ("" if sub.version else resource.group)
    return GroupVersionKind(group, sub.version or resource.version, sub.kind)


def _article(noun: str) -> str:
    """``GetArticleForNoun``, with blanks around it: plurals have none."""
    if noun.endswith("s") and not noun.endswith("ss"):
        return " "
    return " an " if noun[0] in "aeiouAEIOU" else " a "


class _Maker:
    """Makes operations of one kind: what they share is kept here.

    Of a kind that a definition declares: no strategic merge patch, no protobuf, no streams in the document.
    """

    def __init__(self, kind: Kind) -> None:
        resource = kind.resource
        self.kind = kind
        self.custom = "custom" in kind.extra
        self.tag = f"{group_word(resource.group, first=False)}_{words(resource.version, first=False)}"
        self.prefix = f"{group_word(resource.group, first=True)}{words(resource.version, first=True)}"
        self.get_options = (RESOURCE_VERSION,) if self.custom else ()
        self.patch_codes = (_OK,) if self.custom else (_OK, _CREATED)
        self.patch_types = CUSTOM_PATCH_TYPES if self.custom else PATCH_TYPES
        self.types = CUSTOM_TYPES if self.custom else JSON_TYPES
        self.body_types = CUSTOM_TYPES if self.custom else ANY_TYPE

    def __call__(
        self,
        path: str,
        method: str,
        action: str,
        verb: str,
        description: str,
        options: tuple[Parameter, ...],
        *,
        sub: Subresource | None = None,
        infix: str = "",
        suffix: str = "",
        everywhere: bool = False,
        pretty: bool = True,
        body: str = "",
        needs_body: bool = True,
        result: str | None = None,
        codes: tuple[str, ...] = (_OK,),
        consumes: tuple[str, ...] = (),
        produces: tuple[str, ...] = (),
    ) -> Operation:
        """``result`` None: the body's definition. ``infix`` and ``suffix`` stand around the kind in the identifier."""
        resource = self.kind.resource
        scope = "Namespaced" if resource.namespaced and not everywhere else ""
        part = sub.name[:1].upper() + sub.name[1:] if sub else ""
        end = f"{suffix}{'ForAllNamespaces' if everywhere else ''}"
        spoken = _spoken(self.kind, None if self.custom else sub)
        return Operation(
            path=path,
            method=method,
            operation_id=f"{verb}{self.prefix}{infix}{scope}{resource.kind}{part}{end}",
            description=description,
            tag=self.tag,
            consumes=consumes or self.body_types,
            produces=produces or self.types,
            parameters=tuple(sorted(self._parameters(path, spoken.kind, options, pretty=pretty), key=_place)),
            action=action,
            kind=spoken,
            body=body,
            needs_body=needs_body,
            result=body if result is None else result,
            codes=codes,
        )

    @staticmethod
    def _parameters(path: str, kind: str, options: tuple[Parameter, ...], *, pretty: bool) -> Iterator[Parameter]:
        yield from options
        if "{namespace}" in path:
            yield NAMESPACE
        if "{name}" in path:
            yield Parameter("name", PATH, "string", f"name of the {kind}")
        if pretty:
            yield PRETTY


def _place(parameter: Parameter) -> tuple[str, str]:
    return parameter.name, parameter.place
