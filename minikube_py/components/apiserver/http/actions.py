"""Subresources that are not a part of their object: scale, binding, eviction, and handlers of other rooms."""

from __future__ import annotations

from minikube_py.client.types import PatchType
from minikube_py.components.apiserver.http.bodies import Expected
from minikube_py.components.apiserver.http.call import Call, Response
from minikube_py.components.apiserver.http.discovery import no_such_resource
from minikube_py.components.apiserver.http.options import check_delete_options, write_options
from minikube_py.components.apiserver.http.resources import (
    answer,
    definition,
    expected_of,
    patch_type_of,
    read_object,
    read_patch_of,
)
from minikube_py.components.apiserver.registry.core import Core, admission_request, manager_of
from minikube_py.components.apiserver.registry.kinds import is_custom, schema_of
from minikube_py.components.apiserver.registry.outcome import Outcome
from minikube_py.components.apiserver.registry.patch import check_applied, patcher
from minikube_py.components.apiserver.registry.pods import bind, evict
from minikube_py.components.apiserver.registry.scale import get_scale, scale_table, update_scale
from minikube_py.components.apiserver.types import Defaulting, Operation, RequestContext, VirtualHandler
from minikube_py.machinery.kind import Kind, Subresource
from minikube_py.machinery.managed_fields import track_update
from minikube_py.machinery.objects import Object
from minikube_py.machinery.patching.merge_patch import apply_merge_patch

_SCALE = "io.k8s.api.autoscaling.v1.Scale"
_BINDING = "io.k8s.api.core.v1.Binding"
_EVICTION = "io.k8s.api.policy.v1.Eviction"


async def scale(core: Core, kind: Kind, call: Call) -> Response:
    """GET, PUT and PATCH of the scale subresource."""
    info = call.info
    if info.verb == "get":
        return await answer(core, scale_table(kind), call, await get_scale(core, kind, info.namespace, info.name))
    if info.verb == "update":
        options = write_options(call.query, call.request.query_string, "UpdateOptions")
        expected = definition(_SCALE, "Scale", "autoscaling/v1")
        wanted = await read_object(core, call, expected, options["field_validation"])
        wanted.setdefault("metadata", {})

        def change(current: Object) -> Object:
            return wanted
    else:
        patch_type = patch_type_of(call, custom=is_custom(kind))
        apply = patch_type is PatchType.APPLY
        options = write_options(call.query, call.request.query_string, "PatchOptions", apply=apply, patch=True)
        body, problems = await read_patch_of(core, kind, call, patch_type, options["field_validation"])
        if apply:
            check_applied(scale_table(kind), body)
        patched = patcher(core, call.context(**options), scale_table(kind), body, patch_type, problems)

        def change(current: Object) -> Object:
            if apply:
                return apply_merge_patch(current, body)
            current["spec"].setdefault("replicas", 0)  # patches see zero values too
            changed = patched(current)
            assert isinstance(changed, dict)  # Scales are no kind that a webhook converts
            return changed

    ctx = call.context(**options)
    applies = info.verb == "patch" and apply
    outcome = await update_scale(
        core, ctx, kind, info.namespace, info.name, change, applied_by=manager_of(ctx) if applies else ""
    )
    return await answer(core, scale_table(kind), call, outcome)


async def binding(core: Core, kind: Kind, call: Call) -> Response:
    """POST of a pod's binding, or of a Binding to the namespace."""
    options = write_options(call.query, call.request.query_string, "CreateOptions")
    body = await read_object(core, call, definition(_BINDING, "Binding", "v1"), options["field_validation"])
    pods, bindings = core.kinds.get("", "v1", "pods"), core.kinds.get("", "v1", "bindings")
    if pods is None or bindings is None:
        raise no_such_resource()
    name = call.info.name or str((body.get("metadata") or {}).get("name") or "")
    outcome = await bind(core, call.context(**options), pods, bindings, call.info.namespace, name, body)
    return await answer(core, kind, call, outcome)


async def eviction(core: Core, kind: Kind, call: Call) -> Response:
    """POST of a pod's eviction."""
    options = write_options(call.query, call.request.query_string, "CreateOptions")
    body = await read_object(core, call, definition(_EVICTION, "Eviction", "policy/v1"), options["field_validation"])
    check_delete_options(body.get("deleteOptions") or {})
    budgets = core.kinds.get("policy", "v1", "poddisruptionbudgets")
    if budgets is None:
        raise no_such_resource()
    outcome = await evict(core, call.context(**options), kind, budgets, call.info.namespace, call.info.name, body)
    return await answer(core, kind, call, outcome)


async def virtual(core: Core, kind: Kind, call: Call, handler: VirtualHandler) -> Response:
    """POST to something that is answered and never stored."""
    options = write_options(call.query, call.request.query_string, "CreateOptions")
    info = call.info
    sub = kind.subresource(info.subresource) if info.subresource else None
    expected = _subresource_body(kind, sub) if sub is not None else expected_of(kind)
    body = await read_object(core, call, expected, options["field_validation"])
    ctx = call.context(**options)
    if isinstance(handler, Defaulting):
        handler.default(body)
    if kind.resource.plural != "selfsubjectrulesreviews":
        _track(core, ctx, expected, body, info.subresource)
    request = admission_request(
        ctx,
        kind,
        Operation.CREATE,
        namespace=info.namespace,
        name=info.name,
        draft=body,
        old=None,
        subresource=info.subresource,
    )
    await core.let_in(request)
    fields = (body.get("metadata") or {}).get("managedFields")
    found = await handler.create(ctx, kind, info.namespace, info.name, body)
    if fields:
        found = {**found, "metadata": {**(found.get("metadata") or {}), "managedFields": fields}}
    return await answer(core, kind, call, Outcome(found, created=True))


def _track(core: Core, ctx: RequestContext, expected: Expected, body: Object, subresource: str) -> None:
    """Reviews and token requests carry managed fields like stored objects do."""
    body.setdefault("metadata", {})
    track_update(
        expected.schema,
        None,
        body,
        manager=manager_of(ctx),
        api_version=expected.api_version,
        now=core.clock.now(),
        subresource=subresource,
    )


def _subresource_body(kind: Kind, sub: Subresource) -> Expected:
    """The kind that a subresource is posted."""
    if not sub.kind:
        return Expected(kind.resource.kind, kind.resource.api_version, schema_of(kind))
    group = sub.group or kind.resource.group
    version = sub.version or kind.resource.version
    short = (group or "core").removesuffix(".k8s.io").partition(".")[0]
    api_version = f"{group}/{version}" if group else version
    return definition(f"io.k8s.api.{short}.{version}.{sub.kind}", sub.kind, api_version)
