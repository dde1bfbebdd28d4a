"""Pod subresources that are actions: binding to a node and eviction.

Binding follows ``pkg/registry/core/pod/storage``'s ``assignPod``, eviction its ``EvictionREST``: a
PodDisruptionBudget's allowed disruptions are spent with a compare-and-swap before the pod is deleted.
"""

from __future__ import annotations

from dataclasses import replace

from minikube_py.client.types import DeleteOptions
from minikube_py.components.apiserver.registry.core import Core, admission_request, in_version
from minikube_py.components.apiserver.registry.delete import delete
from minikube_py.components.apiserver.registry.metadata import place
from minikube_py.components.apiserver.registry.outcome import Outcome
from minikube_py.components.apiserver.registry.subresources import Part
from minikube_py.components.apiserver.registry.update import modify
from minikube_py.components.apiserver.types import LOOPBACK, Operation, RequestContext
from minikube_py.machinery.conditions import condition_is_true, set_condition
from minikube_py.machinery.errors import (
    ApiError,
    FieldError,
    aggregate_text,
    bad_request,
    conflict,
    go_quote,
    is_not_found,
)
from minikube_py.machinery.kind import Kind, no_change_from
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.selectors import selector_from_label_selector
from minikube_py.machinery.times import rfc3339

_EVICTION_RETRY_SECONDS = 10
_VIOLATES = "Cannot evict pod as it would violate the pod's disruption budget."
_TERMINAL = ("Succeeded", "Failed")
_SELF = "kube-apiserver"


def success(code: int) -> Outcome:
    """A bare Success status."""
    status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code}
    return Outcome(status, created=True, status=True)


async def bind(
    core: Core, ctx: RequestContext, pods: Kind, bindings: Kind, namespace: str, name: str, body: Object
) -> Outcome:
    """Assign a pod to a node. Raises NotFound, Conflict (assigned, deleting, gated), Invalid."""
    body = _placed(body, namespace, name, "Binding")
    errors = bindings.validate(body)
    if errors:
        raise ApiError(500, "", aggregate_text(errors))  # Kubernetes makes no Status of these
    if not name:
        raise bad_request("Name parameter required.")
    body = await _let_in(core, ctx, pods, "binding", namespace, name, body)
    meta = body.get("metadata") or {}
    node = str((body.get("target") or {}).get("name"))

    def drafted(old: Object | None) -> Object:
        pod = thaw(old or {})
        _check_bindable(pod, meta, name)
        pod["spec"]["nodeName"] = node
        if meta.get("annotations"):
            pod["metadata"].setdefault("annotations", {}).update(meta["annotations"])
        if meta.get("labels"):
            pod["metadata"].setdefault("labels", {}).update(meta["labels"])
        scheduled: Object = {"type": "PodScheduled", "status": "True", "lastProbeTime": None}
        status = pod.setdefault("status", {})
        status.pop("nominatedNodeName", None)
        set_condition(status.setdefault("conditions", []), scheduled, core.clock.now())
        return pod

    kind = _with_part(pods, Part("binding", no_change_from, no_change_from, _no_errors, "binding", True))
    await modify(
        core, ctx, kind, namespace, name, drafted, subresource="binding", patch=True, tracked=True, admitted=True
    )
    return success(201)


def _placed(body: Object, namespace: str, name: str, kind: str) -> Object:
    """The body in the request's namespace. ApiError 400 when it is in another one, or has not the URL's name."""
    meta: Object = {**(body.get("metadata") or {})}
    place(meta, namespace)
    if (meta.get("name") or "") != name:
        raise bad_request(f"name in URL does not match name in {kind} object")
    return {**body, "metadata": meta}


async def _let_in(
    core: Core, ctx: RequestContext, pods: Kind, subresource: str, namespace: str, name: str, body: Object
) -> Object:
    """The body as admission leaves it; what the action does to the pod is not admitted again. ApiError."""
    request = admission_request(
        ctx, pods, Operation.CREATE, namespace=namespace, name=name, draft=body, old=None, subresource=subresource
    )
    await core.let_in(request)
    return request.object or {}


def _no_errors(draft: Object, old: Object) -> list[FieldError]:
    return []


def _with_part(kind: Kind, part: Part) -> Kind:
    return replace(kind, extra={**kind.extra, f"part_{part.name}": part})


def _check_bindable(pod: Object, wanted: Object, name: str) -> None:
    meta, spec = pod["metadata"], pod.get("spec") or {}
    why = ""
    if wanted.get("uid") and wanted["uid"] != meta.get("uid"):
        why = f"Precondition failed: UID in precondition: {wanted['uid']}, UID in object meta: {meta.get('uid')}"
    elif meta.get("deletionTimestamp"):
        why = f"pod {name} is being deleted, cannot be assigned to a host"
    elif spec.get("nodeName"):
        why = f"pod {name} is already assigned to node {go_quote(spec['nodeName'])}"
    elif spec.get("schedulingGates"):
        why = f"pod {name} has non-empty .spec.schedulingGates"
    if why:
        raise conflict("", "pods/binding", name, why)


async def evict(
    core: Core, ctx: RequestContext, pods: Kind, budgets: Kind, namespace: str, name: str, body: Object
) -> Outcome:
    """Delete a pod if its disruption budgets allow it. Raises NotFound, TooManyRequests, BadRequest."""
    body = _placed(body, namespace, name, "Eviction")
    options = _delete_options(body.get("deleteOptions") or {}, ctx)
    await _let_in(core, ctx, pods, "eviction", namespace, name, body)
    ctx = replace(ctx, dry_run=options.dry_run)
    pod = in_version(pods, core.entry(pods, namespace, name).object)
    if not _needs_no_budget(pod):
        await _spend_budget(core, ctx, budgets, pod)
        if not options.dry_run:
            await _note_disruption(core, ctx, pods, namespace, name)
    await delete(core, ctx, pods, namespace, name, options, admitted=True)
    return success(201)


def _delete_options(given: Object, ctx: RequestContext) -> DeleteOptions:
    preconditions = given.get("preconditions") or {}
    return DeleteOptions(
        grace_period_seconds=given.get("gracePeriodSeconds"),
        propagation_policy=given.get("propagationPolicy"),
        precondition_uid=preconditions.get("uid"),
        precondition_resource_version=preconditions.get("resourceVersion"),
        dry_run=ctx.dry_run or bool(given.get("dryRun")),
    )


def _needs_no_budget(pod: Object) -> bool:
    """Pods that ended, were never placed or go already are evicted without asking (``canIgnorePDB``)."""
    status = pod.get("status") or {}
    return status.get("phase") in (*_TERMINAL, "Pending") or bool(pod["metadata"].get("deletionTimestamp"))


async def _spend_budget(core: Core, ctx: RequestContext, budgets: Kind, pod: Object) -> None:
    meta = pod["metadata"]
    labels = meta.get("labels") or {}
    matching = [
        entry.object
        for entry in core.cache(budgets).unordered(meta["namespace"])
        if selector_from_label_selector((entry.object.get("spec") or {}).get("selector")).matches(labels)
    ]
    if not matching:
        return
    if len(matching) > 1:
        raise ApiError(
            500,
            "InternalError",
            "Internal error occurred: This pod has more than one PodDisruptionBudget, which the eviction "
            "subresource does not support.",
            details={"causes": [{"message": "This pod has more than one PodDisruptionBudget"}]},
        )
    budget = matching[0]
    ready = condition_is_true((pod.get("status") or {}).get("conditions"), "Ready")
    if not ready and _unhealthy_may_go(budget):
        return
    await _decrement(core, ctx, budgets, budget, meta["name"])


def _unhealthy_may_go(budget: Object) -> bool:
    """Pods that are not Ready disrupt nothing unless the budget is unmet (``unhealthyPodEvictionPolicy``)."""
    spec, status = budget.get("spec") or {}, budget.get("status") or {}
    if spec.get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    healthy, desired = int(status.get("currentHealthy") or 0), int(status.get("desiredHealthy") or 0)
    return healthy >= desired > 0


async def _decrement(core: Core, ctx: RequestContext, budgets: Kind, budget: Object, pod_name: str) -> None:
    def drafted(old: Object | None) -> Object:
        draft = thaw(old or {})
        _check_budget(draft)
        status = draft["status"]
        left = int(status["disruptionsAllowed"]) - 1
        status["disruptionsAllowed"] = left
        if not left:
            _note_no_more(status, core.clock.now())
        status.setdefault("disruptedPods", {})[pod_name] = rfc3339(core.clock.now())
        return draft

    meta = budget["metadata"]
    own = RequestContext(user=LOOPBACK, user_agent=_SELF, dry_run=ctx.dry_run)
    try:
        await modify(
            core,
            own,
            budgets,
            meta["namespace"],
            meta["name"],
            drafted,
            subresource="status",
            patch=True,
            admitted=True,
        )
    except ApiError as error:
        if not is_not_found(error):
            raise


def _note_no_more(status: Object, now: float) -> None:
    """The condition of a budget that is spent (``pdbhelper.UpdateDisruptionAllowedCondition``)."""
    condition: Object = {
        "type": "DisruptionAllowed",
        "status": "False",
        "observedGeneration": status.get("observedGeneration") or 0,
        "reason": "InsufficientPods",
        "message": "",
    }
    set_condition(status.setdefault("conditions", []), condition, now)


def _check_budget(budget: Object) -> None:
    meta, status = budget["metadata"], budget.get("status") or {}
    name = meta["name"]
    if int(status.get("observedGeneration") or 0) < int(meta.get("generation") or 0):
        cause = f"The disruption budget {name} is still being processed by the server."
        raise _refused(cause)
    allowed = int(status.get("disruptionsAllowed") or 0)
    if allowed < 0:
        raise ApiError(
            403, "Forbidden", f'poddisruptionbudgets.policy "{name}" is forbidden: pdb disruptions allowed is negative'
        )
    if allowed == 0:
        desired, healthy = int(status.get("desiredHealthy") or 0), int(status.get("currentHealthy") or 0)
        raise _refused(f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently")


def _refused(cause: str) -> ApiError:
    details: Object = {"causes": [{"reason": "DisruptionBudget", "message": cause}]}
    headers: dict[str, str] = {}
    if "still being processed" in cause:
        details["retryAfterSeconds"] = _EVICTION_RETRY_SECONDS
        headers = {"Retry-After": str(_EVICTION_RETRY_SECONDS)}
    return ApiError(429, "TooManyRequests", _VIOLATES, details=details, headers=headers)


async def _note_disruption(core: Core, ctx: RequestContext, pods: Kind, namespace: str, name: str) -> None:
    """Add the DisruptionTarget condition, so that controllers know why the pod goes."""

    def drafted(old: Object | None) -> Object:
        pod = thaw(old or {})
        condition: Object = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
            "lastProbeTime": None,
        }
        set_condition(pod.setdefault("status", {}).setdefault("conditions", []), condition, core.clock.now())
        return pod

    await modify(
        core, ctx, pods, namespace, name, drafted, subresource="status", patch=True, tracked=True, admitted=True
    )
