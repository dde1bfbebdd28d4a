"""The scale subresource: a Scale object as a view of three places in another kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minikube_py.components.apiserver.registry.core import Core
from minikube_py.components.apiserver.registry.kinds import schema_of
from minikube_py.components.apiserver.registry.metadata import check_name
from minikube_py.components.apiserver.registry.outcome import Outcome
from minikube_py.components.apiserver.registry.subresources import Part, part_of
from minikube_py.components.apiserver.registry.update import modify
from minikube_py.components.apiserver.registry.versions import read_entry
from minikube_py.components.apiserver.types import RequestContext
from minikube_py.machinery.errors import FieldError, conflict, invalid, invalid_value
from minikube_py.machinery.kind import Cell, Kind, Scale
from minikube_py.machinery.kinds.common.printing import AGE, META, age, column
from minikube_py.machinery.managed_fields import apply_patch
from minikube_py.machinery.objects import Object, name_of, thaw
from minikube_py.machinery.resources import Resource
from minikube_py.machinery.selectors import selector_from_label_selector, selector_from_map

API_VERSION = "autoscaling/v1"
_KEPT = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(kind: Kind, obj: Object) -> Object:
    """The Scale of an object."""
    scale = kind.scale
    if scale is None:
        raise ValueError(f"{kind.resource.qualified} has no scale")
    meta = obj["metadata"]
    spec: Object = {}
    replicas = _at(obj, scale.spec_replicas)
    if replicas:
        spec["replicas"] = replicas
    status: Object = {"replicas": _at(obj, scale.status_replicas) or 0}
    selector = _selector_text(scale, obj)
    if selector:
        status["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": API_VERSION,
        "metadata": {key: meta[key] for key in _KEPT if key in meta},
        "spec": spec,
        "status": status,
    }


async def get_scale(core: Core, kind: Kind, namespace: str, name: str) -> Outcome:
    """Read the Scale of an object. Raises NotFound."""
    return Outcome(scale_of(kind, await read_entry(kind, core.entry(kind, namespace, name))))


async def update_scale(
    core: Core,
    ctx: RequestContext,
    kind: Kind,
    namespace: str,
    name: str,
    change: Callable[[Object], Object],
    *,
    applied_by: str = "",
) -> Outcome:
    """Set the replicas; ``change`` makes a Scale of the newest one. Raises NotFound, Conflict, Invalid.

    ``applied_by``: the change is a server-side apply of this manager.
    """
    scale = kind.scale
    if scale is None:
        raise ValueError(f"{kind.resource.qualified} has no scale")

    def drafted(old: Object | None) -> Object:
        before = old or {}
        wanted = change(scale_of(kind, before))
        check_name(wanted, name)
        _check_scale(kind, wanted, before, name)
        replicas = (wanted.get("spec") or {}).get("replicas") or 0
        if applied_by:
            return _applied(core, ctx, kind, before, scale, replicas, applied_by)
        draft = thaw(before)
        _set(draft, scale.spec_replicas, replicas)
        _track(core, ctx, kind, before, draft, replicas)
        if wanted["metadata"].get("resourceVersion"):
            draft["metadata"]["resourceVersion"] = wanted["metadata"]["resourceVersion"]
        return draft

    outcome = await modify(
        core, ctx, scale_kind(kind), namespace, name, drafted, subresource="scale", tracked=True, patch=True
    )
    return Outcome(scale_of(kind, outcome.object))


def _applied(
    core: Core, ctx: RequestContext, kind: Kind, before: Object, scale: Scale, replicas: int, manager: str
) -> Object:
    """The object with the replicas applied, owned by the manager under the scale subresource."""
    resource, meta = kind.resource, before["metadata"]
    patch: Object = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": meta["name"]}}
    if meta.get("namespace"):
        patch["metadata"]["namespace"] = meta["namespace"]
    _set(patch, scale.spec_replicas, replicas)
    applied = apply_patch(
        schema_of(kind),
        before,
        patch,
        manager=manager,
        force=ctx.force,
        api_version=resource.api_version,
        now=core.clock.now(),
        subresource="scale",
    )
    _drop_new_times(before, applied)
    return applied


def _track(core: Core, ctx: RequestContext, kind: Kind, before: Object, draft: Object, replicas: int) -> None:
    """Record who set the replicas. A Scale of none has no such field, so nobody owns it then."""
    scale = kind.scale
    if scale is None or (_at(before, scale.spec_replicas) or 0) == replicas:
        return
    seen = draft if replicas else thaw(draft)
    if not replicas:
        _unset(seen, scale.spec_replicas)
    core.track(ctx, kind, before, seen, "scale")
    _drop_new_times(before, seen)
    managers = seen["metadata"].get("managedFields")
    if managers:
        draft["metadata"]["managedFields"] = managers
    else:
        draft["metadata"].pop("managedFields", None)


def _drop_new_times(before: Object, after: Object) -> None:
    """Entries that a Scale brings into its parent have no time (``managedfields.ScaleHandler``)."""
    known = {_identity(entry) for entry in before["metadata"].get("managedFields") or ()}
    for entry in after["metadata"].get("managedFields") or ():
        if entry.get("subresource") == "scale" and _identity(entry) not in known:
            entry.pop("time", None)


def _identity(entry: Object) -> tuple[object, ...]:
    return tuple(entry.get(key) for key in ("manager", "operation", "apiVersion", "subresource"))


def scale_kind(kind: Kind) -> Kind:
    """The kind with a part that writes everything and is tracked as ``scale``."""
    from dataclasses import replace

    whole = part_of(kind, "")
    part = Part("scale", whole.restrict, whole.prepare, whole.validate, "scale")
    return replace(kind, extra={**kind.extra, "part_scale": part})


def _check_scale(kind: Kind, wanted: Object, before: Object, name: str) -> None:
    replicas = (wanted.get("spec") or {}).get("replicas") or 0
    errors: list[FieldError] = []
    if replicas < 0:
        errors.append(invalid_value("spec.replicas", replicas, "must be greater than or equal to 0"))
    if errors:
        raise invalid("autoscaling", "Scale", name, errors)
    uid = wanted["metadata"].get("uid")
    if uid and uid != before["metadata"].get("uid"):
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {before['metadata'].get('uid')}"
        raise conflict(kind.resource.group, kind.resource.plural, name, why)


def scale_table(kind: Kind) -> Kind:
    """A kind that has the printer columns of Scales."""
    resource = Resource("autoscaling", "v1", "scales", "Scale", kind.resource.namespaced)
    return Kind(resource, "scale", "io.k8s.api.autoscaling.v1.Scale", columns=_COLUMNS, row=_row)


_SPECS = "io.k8s.api.autoscaling.v1"
_COLUMNS = (
    column("Name", f"{META}.ObjectMeta.name"),
    column("Desired", f"{_SPECS}.ScaleSpec.replicas", type="integer"),
    column("Available", f"{_SPECS}.ScaleStatus.replicas", type="integer"),
    AGE,
)


def _row(scale: Object, now: float) -> tuple[Cell, ...]:
    return name_of(scale), _at(scale, "spec.replicas") or 0, _at(scale, "status.replicas") or 0, age(scale, now)


def _at(obj: Object, path: str) -> Any:
    found: Any = obj
    for step in path.strip(".").split("."):
        found = (found or {}).get(step)
    return found


def _unset(draft: Object, path: str) -> None:
    *parents, last = path.strip(".").split(".")
    for step in parents:
        draft = draft.get(step) or {}
    draft.pop(last, None)


def _set(draft: Object, path: str, value: Any) -> None:
    *parents, last = path.strip(".").split(".")
    for step in parents:
        draft = draft.setdefault(step, {})
    draft[last] = value


def _selector_text(scale: Scale, obj: Object) -> str:
    found = _at(obj, scale.selector)
    if not found:
        return ""
    if isinstance(found, str):
        return found
    if "matchLabels" in found or "matchExpressions" in found:
        return str(selector_from_label_selector(found))
    return str(selector_from_map(found))
