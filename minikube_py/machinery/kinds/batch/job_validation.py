"""Validation of Jobs and of their specs inside CronJobs (``pkg/apis/batch/validation``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import duplicate, invalid_value, not_supported, required, too_many
from minikube_py.machinery.kinds.common.checks import (
    Errors,
    label_selector_errors,
    non_negative,
    not_supported_in_order,
    one_of,
    qualified_name,
)
from minikube_py.machinery.kinds.common.go_values import go_object, go_pod_template
from minikube_py.machinery.kinds.common.omitted import invalid_without_value
from minikube_py.machinery.kinds.common.pod_template_validation import pod_template_errors
from minikube_py.machinery.kinds.common.strategy import IMMUTABLE, immutable
from minikube_py.machinery.kinds.common.workload import template_labels, template_match_errors
from minikube_py.machinery.names import domain_prefixed_path_errors
from minikube_py.machinery.objects import Object
from minikube_py.machinery.selectors import selector_from_label_selector

CONTROLLER_UID, JOB_NAME = "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"
LEGACY_CONTROLLER_UID, LEGACY_JOB_NAME = "controller-uid", "job-name"
_NUMBERS = (
    "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
    "backoffLimitPerIndex", "maxFailedIndexes",
)  # fmt: skip
_MAX_INDEXED_PARALLELISM = 100_000
_MAX_INDEXED_COMPLETIONS = 100_000
_INDEXED = "requires indexed completion mode"


def validate_job(job: Object) -> Errors:
    """``ValidateJob``."""
    return _generated_selector_errors(job) + _selected_spec_errors("spec", job.get("spec") or {})


def _generated_selector_errors(job: Object) -> Errors:
    spec, meta = job.get("spec") or {}, job.get("metadata") or {}
    selector = spec.get("selector")
    if spec.get("manualSelector") or selector is None:
        return []
    uid = meta.get("uid") or ""
    called = meta.get("name") or ""
    expected = {LEGACY_CONTROLLER_UID: uid, LEGACY_JOB_NAME: called, CONTROLLER_UID: uid, JOB_NAME: called}
    labels = template_labels(spec.get("template") or {}) or {}
    errors: Errors = [] if uid else [required("metadata.uid")]
    for key, value in expected.items():
        field, text = f"spec.template.metadata.labels[{key}]", f"must be '{value}'"
        if key not in labels:
            errors.append(required(field, text))
        elif labels[key] != value:
            errors.append(invalid_value(field, labels, text))
    if not label_selector_errors("", selector) and not selector_from_label_selector(selector).matches(
        {CONTROLLER_UID: uid}
    ):
        shown = {**selector}
        if selector.get("matchLabels"):
            shown["matchLabels"] = dict(sorted(selector["matchLabels"].items()))
        errors.append(invalid_value("spec.selector", shown, "`selector` not auto-generated"))
    return errors


def _selected_spec_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    errors = job_spec_errors(path, spec)
    selector = spec.get("selector")
    errors += (
        [required(f"{path}.selector")] if selector is None else label_selector_errors(f"{path}.selector", selector)
    )
    return errors + template_match_errors(f"{path}.template.metadata.labels", selector, spec.get("template") or {})


def job_spec_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    """``validateJobSpec``: everything but the selector."""
    errors: Errors = []
    for field in _NUMBERS:
        errors += non_negative(f"{path}.{field}", spec.get(field))
    if spec.get("managedBy") is not None:
        errors += [
            invalid_value(f"{path}.managedBy", spec["managedBy"], text)
            for text in domain_prefixed_path_errors(spec["managedBy"])
        ]
    errors += _mode_errors(path, spec)
    template, policy = spec.get("template") or {}, spec.get("podFailurePolicy")
    if policy is not None:
        errors += _failure_policy_errors(f"{path}.podFailurePolicy", policy, template.get("spec") or {})
    errors += _success_policy_errors(f"{path}.successPolicy", spec)
    errors += _replacement_errors(f"{path}.podReplacementPolicy", spec)
    errors += pod_template_errors(f"{path}.template", template)
    field, restart = f"{path}.template.spec.restartPolicy", (template.get("spec") or {}).get("restartPolicy") or ""
    if restart in ("", "Always"):
        errors.append(required(field, 'valid values: "OnFailure", "Never"'))
    elif restart not in ("OnFailure", "Never"):
        errors.append(not_supported_in_order(field, restart, ("OnFailure", "Never")))
    elif policy is not None and restart != "Never":
        text = 'only "Never" is supported when podFailurePolicy is specified'
        errors.append(invalid_value(field, restart, text))
    return errors


def _mode_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    mode, parallelism = spec.get("completionMode"), spec.get("parallelism")
    errors: Errors = []
    if mode is not None:
        errors += one_of(f"{path}.completionMode", mode, ("Indexed", "NonIndexed"))
    if mode == "Indexed":
        if spec.get("completions") is None:
            errors.append(required(f"{path}.completions", "when completion mode is Indexed"))
        if parallelism is not None and parallelism > _MAX_INDEXED_PARALLELISM:
            text = f"must be less than or equal to {_MAX_INDEXED_PARALLELISM} when completion mode is Indexed"
            errors.append(invalid_value(f"{path}.parallelism", parallelism, text))
        return errors + _per_index_errors(path, spec)
    for field in ("backoffLimitPerIndex", "maxFailedIndexes"):
        if spec.get(field) is not None:
            errors.append(invalid_value(f"{path}.{field}", spec[field], _INDEXED))
    return errors


def _per_index_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    limit, failed, total = spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes"), spec.get("completions")
    errors: Errors = []
    if failed is not None:
        if total is not None and failed > total:
            text = "must be less than or equal to completions"
            errors.append(invalid_value(f"{path}.maxFailedIndexes", failed, text))
        if limit is None:
            errors.append(required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    if limit is not None and total is not None and total > _MAX_INDEXED_COMPLETIONS and failed is None:
        errors.append(required(f"{path}.maxFailedIndexes", "must be specified when completions is above 100000"))
    return errors


_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")


def _failure_policy_errors(path: str, policy: Mapping[str, Any], pod_spec: Mapping[str, Any]) -> Errors:
    names = {
        container.get("name") for sort in ("containers", "initContainers") for container in pod_spec.get(sort) or ()
    }
    errors: Errors = []
    for index, rule in enumerate(policy.get("rules") or ()):
        errors += _failure_rule_errors(f"{path}.rules[{index}]", rule, names)
    return errors


def _failure_rule_errors(path: str, rule: Mapping[str, Any], names: set[Any]) -> Errors:
    action, codes, patterns = rule.get("action") or "", rule.get("onExitCodes"), rule.get("onPodConditions") or ()
    errors: Errors = []
    if not action:
        errors.append(required(f"{path}.action", "valid values: " + ", ".join(f'"{known}"' for known in _ACTIONS)))
    elif action not in _ACTIONS:
        errors.append(not_supported(f"{path}.action", action, _ACTIONS))
    if codes is not None:
        errors += _exit_code_errors(f"{path}.onExitCodes", codes, names)
    for index, pattern in enumerate(patterns):
        field = f"{path}.onPodConditions[{index}]"
        errors += qualified_name(f"{field}.type", pattern.get("type") or "")
        if not pattern.get("status"):
            errors.append(required(f"{field}.status", 'valid values: "False", "True", "Unknown"'))
        else:
            errors += one_of(f"{field}.status", pattern["status"], ("False", "True", "Unknown"))
    if codes is not None and patterns:
        text = "specifying both OnExitCodes and OnPodConditions is not supported"
        errors.append(invalid_without_value(path, text))
    if codes is None and not patterns:
        errors.append(invalid_without_value(path, "specifying one of OnExitCodes and OnPodConditions is required"))
    return errors


def _exit_code_errors(path: str, codes: Mapping[str, Any], names: set[Any]) -> Errors:
    operator, values, name = codes.get("operator") or "", codes.get("values") or (), codes.get("containerName")
    errors: Errors = []
    if not operator:
        errors.append(required(f"{path}.operator", 'valid values: "In", "NotIn"'))
    else:
        errors += one_of(f"{path}.operator", operator, ("In", "NotIn"))
    if name is not None and name not in names:
        text = "must be one of the container or initContainer names in the pod template"
        errors.append(invalid_value(f"{path}.containerName", name, text))
    if not values:
        errors.append(invalid_value(f"{path}.values", [], "at least one value is required"))
    elif len(values) > 255:
        errors.append(too_many(f"{path}.values", len(values), 255))
    return errors + _code_value_errors(f"{path}.values", operator, values)


def _code_value_errors(path: str, operator: str, values: Sequence[int]) -> Errors:
    errors: Errors = []
    seen: set[int] = set()
    ordered = True
    for index, value in enumerate(values):
        field = f"{path}[{index}]"
        if operator == "In" and value == 0:
            errors.append(invalid_value(field, value, "must not be 0 for the In operator"))
        if value in seen:
            errors.append(duplicate(field, value))
        seen.add(value)
        ordered = ordered and (index == 0 or values[index - 1] <= value)
    if not ordered:
        errors.append(invalid_value(path, list(values), "must be ordered"))
    return errors


def _success_policy_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    policy = spec.get("successPolicy")
    if policy is None:
        return []
    if spec.get("completionMode") != "Indexed":
        return [invalid_value(path, go_object("SuccessPolicy", policy), _INDEXED)]
    rules = policy.get("rules") or ()
    if not rules:
        return [required(f"{path}.rules", "at least one rules must be specified when the successPolicy is specified")]
    errors: Errors = []
    for index, rule in enumerate(rules):
        field = f"{path}.rules[{index}]"
        indexes, count = rule.get("succeededIndexes"), rule.get("succeededCount")
        if indexes is None and count is None:
            text = "at least one of succeededCount or succeededIndexes must be specified"
            errors.append(required(field, text))
        errors += non_negative(f"{field}.succeededCount", count)
        total = spec.get("completions")
        if count is not None and total is not None and count > total:
            text = f"must be less than or equal to {total} (the number of specified completions)"
            errors.append(invalid_value(f"{field}.succeededCount", count, text))
    return errors


def _replacement_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    policy = spec.get("podReplacementPolicy")
    if policy is None:
        return []
    if spec.get("podFailurePolicy") is not None:
        return [] if policy == "Failed" else [not_supported_in_order(path, policy, ("Failed",))]
    return one_of(path, policy, ("Failed", "TerminatingOrFailed"))


def validate_job_update(job: Object, old: Object) -> Errors:
    """``jobStrategy.ValidateUpdate``: the whole job again, then what may not change."""
    spec, before = job.get("spec") or {}, old.get("spec") or {}
    errors = validate_job(job) + _selected_spec_errors("spec", spec)
    errors += _completion_errors(spec, before)
    errors += immutable("spec.selector", spec.get("selector"), before.get("selector"))
    if not _template_may_change(spec, before):
        template = spec.get("template") or {}
        errors.append(invalid_value("spec.template", go_pod_template(template), IMMUTABLE))
    for field in ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"):
        errors += immutable(f"spec.{field}", spec.get(field), before.get(field))
    return errors


def _completion_errors(spec: Mapping[str, Any], before: Mapping[str, Any]) -> Errors:
    new, old = spec.get("completions"), before.get("completions")
    if new == old:
        return []
    if spec.get("completionMode") != "Indexed" or new is None or old is None:
        return immutable("spec.completions", new, old)
    if new != spec.get("parallelism"):
        return [invalid_value("spec.completions", new, "can only be modified in tandem with spec.parallelism")]
    return []


_SCHEDULING_LABELS = ("labels", "annotations")


def _template_may_change(spec: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """A suspended job that never started may change what its pods need to be scheduled."""
    new, old = spec.get("template") or {}, before.get("template") or {}
    if new == old:
        return True
    if not before.get("suspend"):
        return False
    return bool(_without_scheduling(new) == _without_scheduling(old))


def _without_scheduling(template: Mapping[str, Any]) -> Any:
    meta = {key: value for key, value in (template.get("metadata") or {}).items() if key not in _SCHEDULING_LABELS}
    free = ("nodeSelector", "tolerations", "schedulingGates", "affinity")
    return meta, {key: value for key, value in (template.get("spec") or {}).items() if key not in free}


def validate_job_status(job: Object, old: Object) -> Errors:
    """``ValidateJobStatus``: no count is negative."""
    status = job.get("status") or {}
    errors: Errors = []
    for field in ("active", "succeeded", "failed", "ready", "terminating"):
        errors += non_negative(f"status.{field}", status.get(field))
    return errors
