"""Validation of Jobs and of their specs inside CronJobs (``pkg/apis/batch/validation``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import duplicate, invalid_value, required, too_long, too_many
from minikube_py.machinery.kinds.batch.indexes import IndexesError, intervals
from minikube_py.machinery.kinds.common.checks import (
    Errors,
    label_selector_errors,
    non_negative,
    not_supported_in_order,
    one_of,
    one_of_in_order,
    qualified_name,
)
from minikube_py.machinery.kinds.common.go_values import go_object, go_pod_template, go_selector
from minikube_py.machinery.kinds.common.omitted import invalid_without_value
from minikube_py.machinery.kinds.common.pod_template_validation import pod_template_errors
from minikube_py.machinery.kinds.common.strategy import IMMUTABLE, immutable
from minikube_py.machinery.kinds.common.workload import template_labels, template_match_errors
from minikube_py.machinery.names import dns1123_label_errors, domain_prefixed_path_errors
from minikube_py.machinery.objects import Object
from minikube_py.machinery.selectors import selector_from_label_selector

CONTROLLER_UID, JOB_NAME = "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"
LEGACY_CONTROLLER_UID, LEGACY_JOB_NAME = "controller-uid", "job-name"
_NUMBERS = (
    "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
    "backoffLimitPerIndex", "maxFailedIndexes",
)  # fmt: skip
_MAX_INDEXED_PARALLELISM = 100_000
_MAX_FAILED_INDEXES = 100_000
_MANY_COMPLETIONS, _MOST_OF_MANY = 100_000, 10_000
_MAX_RULES = 20
_MAX_MANAGER = 63
_MAX_INDEXES_TEXT = 64 * 1024
_INDEXED = "requires indexed completion mode"


def validate_job(job: Object) -> Errors:
    """``ValidateJob``."""
    errors = _generated_selector_errors(job) + _selected_spec_errors("spec", job.get("spec") or {})
    return errors + _hostname_errors(job)


def _hostname_errors(job: Object) -> Errors:
    """The hostname of an indexed job's pod is the job's name and the index."""
    spec, called = job.get("spec") or {}, (job.get("metadata") or {}).get("name") or ""
    total = spec.get("completions") or 0
    if spec.get("completionMode") != "Indexed" or total <= 0:
        return []
    longest = f"{called}-{total - 1}"
    if not dns1123_label_errors(longest):
        return []
    text = f"will not able to create pod with invalid DNS label: {longest}"
    return [invalid_value("metadata.name", called, text)]


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
        errors.append(invalid_value("spec.selector", go_selector(selector), "`selector` not auto-generated"))
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
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        errors.append(required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    manager = spec.get("managedBy")
    if manager is not None:
        field = f"{path}.managedBy"
        errors += [invalid_value(field, manager, text) for text in domain_prefixed_path_errors(manager)]
        if len(manager.encode()) > _MAX_MANAGER:
            errors.append(too_long(field, _MAX_MANAGER))
    errors += _mode_errors(path, spec)
    template, policy = spec.get("template") or {}, spec.get("podFailurePolicy")
    if policy is not None:
        errors += _failure_policy_errors(f"{path}.podFailurePolicy", policy, spec)
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
        errors += one_of_in_order(f"{path}.completionMode", mode, ("NonIndexed", "Indexed"))
    if mode == "Indexed":
        if spec.get("completions") is None:
            errors.append(required(f"{path}.completions", "when completion mode is Indexed"))
        if parallelism is not None and parallelism > _MAX_INDEXED_PARALLELISM:
            text = f"must be less than or equal to {_MAX_INDEXED_PARALLELISM} when completion mode is Indexed"
            errors.append(invalid_value(f"{path}.parallelism", parallelism, text))
        return errors + _per_index_errors(path, spec)
    for field in ("backoffLimitPerIndex", "maxFailedIndexes"):
        if spec.get(field) is not None and mode in (None, "NonIndexed"):
            errors.append(invalid_value(f"{path}.{field}", spec[field], _INDEXED))
    return errors


def _per_index_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    limit, failed, total = spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes"), spec.get("completions")
    field = f"{path}.maxFailedIndexes"
    errors: Errors = []
    if total is not None and failed is not None and failed > total:
        errors.append(invalid_value(field, failed, "must be less than or equal to completions"))
    if failed is not None and failed > _MAX_FAILED_INDEXES:
        errors.append(invalid_value(field, failed, f"must be less than or equal to {_MAX_FAILED_INDEXES}"))
    if limit is None or total is None or total <= _MANY_COMPLETIONS:
        return errors
    if failed is None:
        errors.append(required(field, f"must be specified when completions is above {_MANY_COMPLETIONS}"))
    for name in ("parallelism", "maxFailedIndexes"):
        value = spec.get(name)
        if value is not None and value > _MOST_OF_MANY:
            text = (
                f"must be less than or equal to {_MOST_OF_MANY} when completions are above {_MANY_COMPLETIONS} "
                "and used with backoff limit per index"
            )
            errors.append(invalid_value(f"{path}.{name}", value, text))
    return errors


_STATES, _OPERATORS = ("False", "True", "Unknown"), ("In", "NotIn")
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")


def _failure_policy_errors(path: str, policy: Mapping[str, Any], spec: Mapping[str, Any]) -> Errors:
    pod_spec, rules = (spec.get("template") or {}).get("spec") or {}, policy.get("rules") or ()
    names = {
        container.get("name") for sort in ("containers", "initContainers") for container in pod_spec.get(sort) or ()
    }
    errors = _too_many_errors(f"{path}.rules", rules)
    for index, rule in enumerate(rules):
        field = f"{path}.rules[{index}]"
        errors += _action_errors(f"{field}.action", rule.get("action") or "", spec)
        errors += _failure_rule_errors(field, rule, names)
    return errors


def _action_errors(field: str, action: str, spec: Mapping[str, Any]) -> Errors:
    if not action:
        return [required(field, _choices(_ACTIONS))]
    if action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
        return [invalid_value(field, action, "requires the backoffLimitPerIndex to be set")]
    return one_of(field, action, _ACTIONS)


def _choices(values: Sequence[str]) -> str:
    """Texts as Go prints a list of them with ``%q``."""
    return "valid values: [" + " ".join(f'"{value}"' for value in values) + "]"


def _too_many_errors(path: str, entries: Sequence[Any]) -> Errors:
    return [too_many(path, len(entries), _MAX_RULES)] if len(entries) > _MAX_RULES else []


def _failure_rule_errors(path: str, rule: Mapping[str, Any], names: set[Any]) -> Errors:
    codes, patterns = rule.get("onExitCodes"), rule.get("onPodConditions") or ()
    errors: Errors = []
    if codes is not None:
        errors += _exit_code_errors(f"{path}.onExitCodes", codes, names)
    errors += _too_many_errors(f"{path}.onPodConditions", patterns)
    for index, pattern in enumerate(patterns):
        field = f"{path}.onPodConditions[{index}]"
        errors += qualified_name(f"{field}.type", pattern.get("type") or "")
        if not pattern.get("status"):
            errors.append(required(f"{field}.status", _choices(_STATES)))
        else:
            errors += one_of(f"{field}.status", pattern["status"], _STATES)
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
        errors.append(required(f"{path}.operator", _choices(_OPERATORS)))
    else:
        errors += one_of(f"{path}.operator", operator, _OPERATORS)
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
    errors: Errors = []
    if not rules:
        text = "at least one rules must be specified when the successPolicy is specified"
        errors.append(required(f"{path}.rules", text))
    errors += _too_many_errors(f"{path}.rules", rules)
    for index, rule in enumerate(rules):
        errors += _success_rule_errors(f"{path}.rules[{index}]", rule, spec.get("completions"))
    return errors


def _success_rule_errors(path: str, rule: Mapping[str, Any], total: int | None) -> Errors:
    indexes, count = rule.get("succeededIndexes"), rule.get("succeededCount")
    field = f"{path}.succeededCount"
    errors: Errors = []
    if indexes is None and count is None:
        errors.append(required(path, "at least one of succeededCount or succeededIndexes must be specified"))
    named: int | None = None
    if indexes is not None:
        if len(indexes.encode()) > _MAX_INDEXES_TEXT:
            errors.append(too_long(f"{path}.succeededIndexes", _MAX_INDEXES_TEXT))
        try:
            named = sum(last - first + 1 for first, last in intervals(indexes, total or 0))
        except IndexesError as error:
            named = 0
            text = f"error parsing succeededIndexes: {error}"
            errors.append(invalid_value(f"{path}.succeededIndexes", indexes, text))
    errors += non_negative(field, count)
    if count is not None and total is not None and count > total:
        text = f"must be less than or equal to {total} (the number of specified completions)"
        errors.append(invalid_value(field, count, text))
    if count is not None and named is not None and count > named:
        text = f"must be less than or equal to {named} (the number of indexes in the specified succeededIndexes field)"
        errors.append(invalid_value(field, count, text))
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
    errors += immutable("spec.selector", go_selector(spec.get("selector")), go_selector(before.get("selector")))
    if not _template_may_change(job, old):
        template = spec.get("template") or {}
        errors.append(invalid_value("spec.template", go_pod_template(template), IMMUTABLE))
    for field, layout in _FIXED:
        values = (found.get(field) for found in (spec, before))
        errors += immutable(f"spec.{field}", *(go_object(layout, value) if layout else value for value in values))
    return errors


_FIXED = (
    ("completionMode", ""),
    ("podFailurePolicy", "PodFailurePolicy"),
    ("backoffLimitPerIndex", ""),
    ("managedBy", ""),
    ("successPolicy", "SuccessPolicy"),
)


def _completion_errors(spec: Mapping[str, Any], before: Mapping[str, Any]) -> Errors:
    new, old = spec.get("completions"), before.get("completions")
    if new == old:
        return []
    if spec.get("completionMode") != "Indexed" or new is None or old is None:
        return immutable("spec.completions", new, old)
    if new != spec.get("parallelism"):
        return [invalid_value("spec.completions", new, "can only be modified in tandem with spec.parallelism")]
    return []


def _template_may_change(job: Object, old: Object) -> bool:
    """A suspended job without running pods may change where its pods may run and what they ask for."""
    spec, before = job.get("spec") or {}, old.get("spec") or {}
    new, former = spec.get("template") or {}, before.get("template") or {}
    if new == former:
        return True
    status = old.get("status") or {}
    if not before.get("suspend") or (status.get("startTime") and status.get("active")):
        return False
    return bool(_fixed_part(new) == _fixed_part(former))


_FREE_METADATA = ("labels", "annotations")
_FREE_SPEC = ("nodeSelector", "tolerations", "schedulingGates", "affinity", "containers", "initContainers")


def _fixed_part(template: Mapping[str, Any]) -> Any:
    """What a suspended job may not change of its template either."""
    meta = {key: value for key, value in (template.get("metadata") or {}).items() if key not in _FREE_METADATA}
    pod = template.get("spec") or {}
    rest = {key: value for key, value in pod.items() if key not in _FREE_SPEC}
    affinity = {key: value for key, value in (pod.get("affinity") or {}).items() if key != "nodeAffinity"}
    containers = [[_without_amounts(each) for each in pod.get(key) or ()] for key in ("containers", "initContainers")]
    return meta, rest, affinity, containers


def _without_amounts(container: Mapping[str, Any]) -> Any:
    resources = container.get("resources") or {}
    kept = {key: value for key, value in resources.items() if key not in ("requests", "limits")}
    return {**container, "resources": kept}
