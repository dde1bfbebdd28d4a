"""A request as dynamic admission sees it: under which kind, in which version, and how a change comes back.

The registry hands admission the object that is being written, in the version of the request. Webhooks
and policies may ask for another version of the same resource (matchPolicy Equivalent), and see a Scale
where the registry has the scaled object. ``Subject.view`` makes what they see, ``Subject.accept`` takes
a changed view back into the draft, with defaults, as ``admission.VersionedAttributes`` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from minikube_py.components.apiserver.registry.heavy import done
from minikube_py.components.apiserver.registry.kinds import Kinds, schema_of
from minikube_py.components.apiserver.registry.scale import scale_of
from minikube_py.components.apiserver.registry.versions import converter_of
from minikube_py.components.apiserver.types import AdmissionRequest, Operation
from minikube_py.machinery.decoding import check_types, drop_unknown
from minikube_py.machinery.errors import ApiError, internal
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.resources import Resource
from minikube_py.machinery.schema import ANYTHING, Schema, definitions

_SCALE = "io.k8s.api.autoscaling.v1.Scale"


@dataclass(frozen=True, slots=True)
class GroupVersionKind:
    """The type of an object."""

    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def json(self) -> Object:
        return {"group": self.group, "version": self.version, "kind": self.kind}

    def __str__(self) -> str:
        """As Go prints it."""
        return f"{self.group}/{self.version}, Kind={self.kind}"


@dataclass(frozen=True, slots=True)
class Target:
    """A resource in one version, the subresource that is written, and the type of what is written."""

    group: str
    version: str
    plural: str
    subresource: str
    type: GroupVersionKind
    kind: Kind
    """The kind of the resource; that of a subresource with a type of its own is its parent's."""

    def resource_json(self) -> Object:
        return {"group": self.group, "version": self.version, "resource": self.plural}


def target_of(kind: Kind, subresource: str) -> Target:
    """How requests to a resource, or a subresource of it, are seen."""
    resource = kind.resource
    sub = kind.subresource(subresource) if subresource else None
    seen = GroupVersionKind(resource.group, resource.version, resource.kind)
    if sub is not None and sub.kind:
        seen = GroupVersionKind(sub.group or resource.group, sub.version or resource.version, sub.kind)
    return Target(resource.group, resource.version, resource.plural, subresource, seen, kind)


class ServedKinds:
    """The kinds that are served now, and which of them are the same under another name; shared by all requests."""

    def __init__(self, kinds: Kinds) -> None:
        self.kinds = kinds
        self._generation = kinds.generation
        self._equivalents: dict[tuple[Resource, str], Sequence[Target]] = {}

    def equivalents(self, target: Target) -> Sequence[Target]:
        """The other targets with the same stored objects."""
        if self._generation != self.kinds.generation:
            self._generation = self.kinds.generation
            self._equivalents.clear()
        key = (target.kind.resource, target.subresource)
        found = self._equivalents.get(key)
        if found is None:
            found = self._equivalents[key] = self._find(target)
        return found

    def _find(self, target: Target) -> Sequence[Target]:
        found = [
            target_of(kind, target.subresource)
            for kind in self.kinds.all()
            if kind.stored_as == target.kind.stored_as
            and kind.resource != target.kind.resource
            and (not target.subresource or kind.subresource(target.subresource) is not None)
        ]
        return sorted(found, key=lambda other: (other.group, other.version))


class Subject:
    """One request in one phase of admission. Made anew for each phase; views are made once for each version."""

    def __init__(self, request: AdmissionRequest, served: ServedKinds) -> None:
        self.request = request
        self._served = served
        self._converted: dict[str, list[tuple[Object, Object]]] = {}
        """By API version: (what was converted, what a conversion webhook made of it)."""
        self.target = target_of(request.kind, request.subresource)
        self.operation = request.operation.value
        self.name = request.name
        about_namespace = self.target.plural == "namespaces" and not self.target.group
        self.namespace = request.namespace or (request.name if about_namespace else "")
        """A namespace is in itself."""

    @property
    def about_namespace(self) -> bool:
        return self.target.plural == "namespaces" and not self.target.group

    @cached_property
    def object(self) -> Object | None:
        """What is written, in the request's version; shared with the draft: read only."""
        return self._seen(self.request.object)

    @cached_property
    def old(self) -> Object | None:
        """What was there before; read only."""
        return self._seen(self.request.old)

    @property
    def equivalents(self) -> Sequence[Target]:
        """The other versions and groups under which the same stored objects are served."""
        return self._served.equivalents(self.target)

    async def prepare(self, target: Target) -> None:
        """Before ``view`` of a version that a conversion webhook makes. Raises ApiError(500)."""
        converter, version = converter_of(self.target.kind), target.type.api_version
        if converter is None or self._is_scale or version == self.target.type.api_version:
            return
        known = self._converted.get(version, ())
        wanted = [
            obj for obj in (self.object, self.old) if obj is not None and not any(source is obj for source, _ in known)
        ]
        if not wanted:
            return
        try:
            made = await converter.objects(wanted, version)
        except ApiError as error:
            raise internal(error.message) from error
        self._converted[version] = [*known, *zip(wanted, made, strict=True)]

    def view(self, target: Target) -> tuple[Object | None, Object | None]:
        """(object, old object) in the version of a target that matched (``matching.match``), typed; read only."""
        return self._in_version(self.object, target), self._in_version(self.old, target)

    async def accept(self, target: Target, changed: Object) -> bool:
        """Take a changed view into the draft, with defaults; returns whether it differs from what was there.

        Raises ApiError(500) when it does not fit its type.
        """
        draft = self.request.object
        before = self._in_version(self.object, target)
        if draft is None or before is None:
            raise internal("there is no object to change")
        if not await done(self.request.large, partial(self._differs, target, before, changed)):
            return False
        await self._take(draft, target, changed)
        self.__dict__.pop("object", None)
        return True

    def _differs(self, target: Target, before: Object, changed: Object) -> bool:
        """Whether a changed view, after defaults, is another object. ApiError(500) when it does not fit its type."""
        schema = self.schema(target)
        try:
            check_types(schema, changed, target.type.kind)
        except ApiError as error:
            raise internal(error.message.partition(": ")[2] or error.message) from error
        drop_unknown(schema, changed)
        if not isinstance(changed.get("metadata"), dict) and "metadata" in before:
            changed["metadata"] = {}
        if target.type.kind == target.kind.resource.kind:
            target.kind.default(changed)
        return changed != before

    async def _take(self, draft: Object, target: Target, changed: Object) -> None:
        if self._is_scale:
            replicas = (changed.get("spec") or {}).get("replicas") or 0
            scale = self.request.kind.scale
            if scale is not None:
                _set(draft, scale.spec_replicas, replicas)
            return
        fresh, wanted = changed, self.request.kind
        converter = converter_of(wanted)
        if converter is not None and target.type.api_version != wanted.resource.api_version:
            fresh = (await converter.objects([changed], wanted.resource.api_version))[0]
        elif target.kind != wanted:
            fresh = convert(changed, target.kind, wanted)
        _keep_valid_managers(self.request, draft, fresh)
        draft.clear()
        draft.update(fresh)

    @property
    def _is_scale(self) -> bool:
        return self.request.subresource == "scale" and self.request.operation is Operation.UPDATE

    def _seen(self, obj: Object | None) -> Object | None:
        if obj is None:
            return None
        if self._is_scale:
            return scale_of(self.request.kind, obj)
        return _typed(obj, self.target.type)

    def _in_version(self, obj: Object | None, target: Target) -> Object | None:
        if obj is None or target.kind is self.target.kind or target.type == self.target.type:
            return obj
        for source, made in self._converted.get(target.type.api_version, ()):
            if source is obj:
                return made
        return _typed(convert(obj, self.target.kind, target.kind), target.type)

    def schema(self, target: Target) -> Schema:
        """What an object of the target's type may have."""
        if self._is_scale:
            return definitions().schema(_SCALE)
        if target.type.kind == target.kind.resource.kind:
            return schema_of(target.kind)
        return type_schema(target.type)


def type_schema(seen: GroupVersionKind) -> Schema:
    """The schema of a built-in type that is no resource (Binding, Eviction, PodExecOptions)."""
    short = (seen.group or "core").removesuffix(".k8s.io").partition(".")[0]
    name = f"io.k8s.api.{short}.{seen.version}.{seen.kind}"
    return definitions().schema(name) if name in definitions() else ANYTHING


def _keep_valid_managers(request: AdmissionRequest, draft: Object, fresh: Object) -> None:
    """Put managed fields that admission spoilt back, and say so, as ``fieldmanager``'s admission wrapper does."""
    before = (draft.get("metadata") or {}).get("managedFields")
    meta = fresh.get("metadata")
    if not isinstance(meta, dict) or meta.get("managedFields") == before:
        return
    wrong = _first_wrong_manager(meta.get("managedFields") or ())
    if wrong:
        request.warnings.append(
            ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated "
            f"mutating admission controller; please fix your requests: {wrong}"
        )
        if before is None:
            meta.pop("managedFields", None)
        else:
            meta["managedFields"] = before


def _first_wrong_manager(entries: Iterable[Mapping[str, object]]) -> str:
    """What is wrong with managed fields; empty when nothing is."""
    for entry in entries:
        operation, kind = entry.get("operation"), entry.get("fieldsType")
        if operation not in ("Apply", "Update"):
            return f"invalid operation: {operation or ''}"
        if kind != "FieldsV1":
            return f"invalid fieldsType: {kind or ''}"
        if not entry.get("apiVersion"):
            return "missing apiVersion"
    return ""


def convert(obj: Object, source: Kind, wanted: Kind) -> Object:
    """An object of one version of a kind in another version; a private copy at its top."""
    stored = source.to_storage(thaw(obj)) if source.to_storage else obj
    result = wanted.from_storage(stored) if wanted.from_storage else stored
    return {**result, "apiVersion": wanted.resource.api_version, "kind": wanted.resource.kind}


def _typed(obj: Object, seen: GroupVersionKind) -> Object:
    if obj.get("kind") == seen.kind and obj.get("apiVersion") == seen.api_version:
        return obj
    return {"kind": seen.kind, "apiVersion": seen.api_version, **_without_type(obj)}


def _without_type(obj: Mapping[str, object]) -> Object:
    return {key: value for key, value in obj.items() if key not in ("kind", "apiVersion")}


def _set(draft: Object, path: str, value: object) -> None:
    *parents, last = path.strip(".").split(".")
    for step in parents:
        draft = draft.setdefault(step, {})
    draft[last] = value
