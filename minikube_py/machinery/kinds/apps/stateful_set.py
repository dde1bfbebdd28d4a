"""StatefulSet: pods with stable names and storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, forbidden_field, invalid_value, required
from minikube_py.machinery.kind import Cell, Kind, Scale, Subresource
from minikube_py.machinery.kinds.common.checks import (
    int_or_percent,
    label,
    label_selector_errors,
    non_negative,
    one_of_in_order,
    percent_over_100,
)
from minikube_py.machinery.kinds.common.claim_validation import claim_spec_errors, claim_spec_warnings
from minikube_py.machinery.kinds.common.go_values import go_object, go_selector
from minikube_py.machinery.kinds.common.pod_defaults import default_claim_spec, default_pod_template
from minikube_py.machinery.kinds.common.pod_gates import gated_create, gated_update
from minikube_py.machinery.kinds.common.pod_template_validation import template_metadata_errors
from minikube_py.machinery.kinds.common.pod_template_warnings import template_warnings
from minikube_py.machinery.kinds.common.printing import (
    AGE,
    CONTAINERS,
    IMAGES,
    NAME,
    age,
    column,
    container_images,
    container_names,
    name,
    part,
)
from minikube_py.machinery.kinds.common.setting import child, items, set_default
from minikube_py.machinery.kinds.common.strategy import defaults, fresh_status
from minikube_py.machinery.kinds.common.workload import (
    always_restart_errors,
    collision_errors,
    int_or_percent_value,
    spec_is_new,
    template_match_errors,
    valid_selector,
)
from minikube_py.machinery.names import name_is_dns_label
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import STATEFUL_SETS

DEFINITION = "io.k8s.api.apps.v1.StatefulSet"
_MUTABLE = frozenset(
    [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ]
)
_FORBIDDEN = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def fill(stateful_set: Object) -> None:
    """``SetDefaults_StatefulSet``."""
    spec = child(stateful_set, "spec")
    set_default(spec, podManagementPolicy="OrderedReady", replicas=1, revisionHistoryLimit=10)
    strategy = child(spec, "updateStrategy")
    set_default(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        set_default(child(strategy, "rollingUpdate"), partition=0)
    set_default(child(spec, "persistentVolumeClaimRetentionPolicy"), whenDeleted="Retain", whenScaled="Retain")
    default_pod_template(child(spec, "template"))
    for claim in items(spec, "volumeClaimTemplates"):
        set_default(claim, apiVersion="v1", kind="PersistentVolumeClaim")
        default_claim_spec(child(claim, "spec"))
        set_default(child(claim, "status"), phase="Pending")


_reset = fresh_status(DEFINITION)


def prepare_create(stateful_set: Object) -> None:
    _reset(stateful_set)
    _drop_disabled(stateful_set, {})


def prepare_update(stateful_set: Object, old: Object) -> None:
    _drop_disabled(stateful_set, old)


def _drop_disabled(stateful_set: Object, old: Object) -> None:
    """``maxUnavailable`` is dropped where nobody used it before: its feature gate is off in v1.36."""
    rolling, before = (part(obj, "spec", "updateStrategy").get("rollingUpdate") or {} for obj in (stateful_set, old))
    if before.get("maxUnavailable") is None:
        rolling.pop("maxUnavailable", None)


def validate(stateful_set: Object) -> list[FieldError]:
    """``ValidateStatefulSet``."""
    spec = stateful_set.get("spec") or {}
    selector, template = spec.get("selector"), spec.get("template") or {}
    errors = _policy_errors(spec)
    errors += non_negative("spec.replicas", spec.get("replicas"))
    errors += non_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    if spec.get("ordinals") is not None:
        errors += non_negative("spec.ordinals.start", spec["ordinals"].get("start"))
    if selector is None:
        errors.append(required("spec.selector"))
    else:
        errors += label_selector_errors("spec.selector", selector)
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            errors.append(invalid_value("spec.selector", {}, "empty selector is invalid for statefulset"))
    if valid_selector(selector):
        errors += template_match_errors("spec.template.metadata.labels", selector, template)
        # the pod's spec is judged with each pod: its mounts may be of volumes that come from the claim templates
        errors += template_metadata_errors("spec.template", template)
    else:
        errors.append(invalid_value("spec.selector", go_selector(selector), ""))
    errors += always_restart_errors("spec.template.spec", template.get("spec") or {}, "StatefulSet")
    if spec.get("serviceName"):
        errors += label("spec.serviceName", spec["serviceName"])
    for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
        errors += claim_spec_errors(f"spec.volumeClaimTemplates[{index}].spec", claim.get("spec") or {})
    return errors


def _policy_errors(spec: Mapping[str, Any]) -> list[FieldError]:
    management = spec.get("podManagementPolicy") or ""
    errors: list[FieldError] = []
    if not management:
        errors.append(required("spec.podManagementPolicy"))
    elif management not in ("OrderedReady", "Parallel"):
        text = "must be 'OrderedReady' or 'Parallel'"
        errors.append(invalid_value("spec.podManagementPolicy", management, text))
    errors += _strategy_errors("spec.updateStrategy", spec.get("updateStrategy") or {})
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for field in ("whenDeleted", "whenScaled"):
        value = retention.get(field) or ""
        errors += one_of_in_order(f"spec.persistentVolumeClaimRetentionPolicy.{field}", value, ("Retain", "Delete"))
    return errors


def _strategy_errors(path: str, strategy: Mapping[str, Any]) -> list[FieldError]:
    kind, rolling = strategy.get("type") or "", strategy.get("rollingUpdate")
    field = f"{path}.rollingUpdate"
    if not kind:
        return [required(path)]
    if kind == "OnDelete":
        if rolling is not None:
            shown = go_object("RollingUpdateStatefulSetStrategy", rolling)
            return [invalid_value(field, shown, "only allowed for updateStrategy 'RollingUpdate'")]
        return []
    if kind != "RollingUpdate":
        shown = go_object("StatefulSetUpdateStrategy", strategy)
        return [invalid_value(path, shown, "must be 'RollingUpdate' or 'OnDelete'")]
    if rolling is None:
        return []
    errors = non_negative(f"{field}.partition", rolling.get("partition"))
    unavailable = rolling.get("maxUnavailable")
    if unavailable is not None:
        errors += int_or_percent(f"{field}.maxUnavailable", unavailable)
        if not int_or_percent_value(unavailable):
            errors.append(invalid_value(f"{field}.maxUnavailable", unavailable, "cannot be 0"))
        errors += percent_over_100(f"{field}.maxUnavailable", unavailable)
    return errors


def validate_update(stateful_set: Object, old: Object) -> list[FieldError]:
    """``ValidateStatefulSetUpdate``: a few fields of the spec may change."""
    errors = validate(stateful_set)
    spec, before = ({k: v for k, v in (obj.get("spec") or {}).items() if k not in _MUTABLE} for obj in
                    (stateful_set, old))  # fmt: skip
    if spec != before:
        errors.append(forbidden_field("spec", _FORBIDDEN))
    return errors


def validate_status(stateful_set: Object, old: Object) -> list[FieldError]:
    """``ValidateStatefulSetStatus``: counts fit each other."""
    status, before = stateful_set.get("status") or {}, old.get("status") or {}
    errors: list[FieldError] = []
    counts = ("replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
    for field in (*counts, "observedGeneration", "collisionCount"):
        errors += non_negative(f"status.{field}", status.get(field))
    total, ready = status.get("replicas") or 0, status.get("readyReplicas") or 0
    for field in counts[1:]:
        if (status.get(field) or 0) > total:
            errors.append(invalid_value(f"status.{field}", status[field], "cannot be greater than status.replicas"))
    if (status.get("availableReplicas") or 0) > ready:
        text = "cannot be greater than status.readyReplicas"
        errors.append(invalid_value("status.availableReplicas", status["availableReplicas"], text))
    return errors + collision_errors(status, before)


def warnings(stateful_set: Object, old: Object | None) -> list[str]:
    """Warnings of the template and of the claims; those of claims have an odd path after an update."""
    spec = stateful_set.get("spec") or {}
    found = template_warnings("spec.template", spec.get("template") or {}) if spec_is_new(stateful_set, old) else []
    for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
        path = f"spec.volumeClaimTemplates[{index}]" + ("" if old is None else ".Spec")
        found += claim_spec_warnings(path, claim.get("spec") or {})
    if (spec.get("revisionHistoryLimit") or 0) < 0:
        found.append("spec.revisionHistoryLimit: a negative value retains all historical revisions; "
                     "a value >= 0 is recommended")  # fmt: skip
    return found


def row(stateful_set: Mapping[str, Any], now: float) -> Sequence[Cell]:
    spec, status = part(stateful_set, "spec"), part(stateful_set, "status")
    template = part(spec, "template", "spec")
    return (
        name(stateful_set),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        age(stateful_set, now),
        container_names(template),
        container_images(template),
    )


KIND = Kind(
    resource=STATEFUL_SETS,
    singular="statefulset",
    definition=DEFINITION,
    short_names=("sts",),
    name_errors=name_is_dns_label,
    categories=("all",),
    subresources=(Subresource("scale", kind="Scale", group="autoscaling", version="v1"), Subresource("status")),
    scale=Scale(),
    default=defaults(DEFINITION, fill),
    prepare_create=gated_create(prepare_create, "spec", "template"),
    prepare_update=gated_update("spec", "template", prepare=prepare_update),
    validate=validate,
    validate_update=validate_update,
    validate_status=validate_status,
    warnings=warnings,
    generation=True,
    has_status=True,
    columns=(NAME, column("Ready", text="Number of the pod with ready state"), AGE, CONTAINERS, IMAGES),
    row=row,
)
