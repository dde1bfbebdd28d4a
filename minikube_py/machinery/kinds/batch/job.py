"""Job: runs pods until a number of them succeeded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.conditions import condition_is_true
from minikube_py.machinery.kind import Cell, Kind, Subresource
from minikube_py.machinery.kinds.batch import job_status, job_validation
from minikube_py.machinery.kinds.batch.job_validation import (
    CONTROLLER_UID,
    JOB_NAME,
    LEGACY_CONTROLLER_UID,
    LEGACY_JOB_NAME,
)
from minikube_py.machinery.kinds.common.pod_defaults import default_pod_template
from minikube_py.machinery.kinds.common.pod_gates import gated_create, gated_update
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
    human_duration,
    name,
    part,
    selector_text,
)
from minikube_py.machinery.kinds.common.setting import child, items, set_default
from minikube_py.machinery.kinds.common.strategy import defaults, fresh_status
from minikube_py.machinery.kinds.common.workload import name_warnings, spec_is_new
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import JOBS
from minikube_py.machinery.times import parse_time

DEFINITION = "io.k8s.api.batch.v1.Job"
_SPEC, _STATUS = f"{DEFINITION}Spec", f"{DEFINITION}Status"
_UNLIMITED = 2**31 - 1


def fill(job: Object) -> None:
    """``SetDefaults_Job``."""
    spec = child(job, "spec")
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = spec["parallelism"] = 1
    limit = 6 if spec.get("backoffLimitPerIndex") is None else _UNLIMITED
    set_default(
        spec, parallelism=1, backoffLimit=limit, completionMode="NonIndexed", suspend=False, manualSelector=False
    )
    policy = spec.get("podFailurePolicy")
    default_failure_policy(policy)
    set_default(spec, podReplacementPolicy="TerminatingOrFailed" if policy is None else "Failed")
    default_pod_template(child(spec, "template"))
    _labels_from_template(job)


def default_failure_policy(policy: Object | None) -> None:
    """Patterns of conditions wait for "True"."""
    for rule in items(policy or {}, "rules"):
        for pattern in items(rule, "onPodConditions"):
            set_default(pattern, status="True")


def _labels_from_template(job: Object) -> None:
    labels = (job["spec"]["template"].get("metadata") or {}).get("labels")
    if labels and not (job.get("metadata") or {}).get("labels"):
        child(job, "metadata")["labels"] = dict(labels)


_reset = fresh_status(DEFINITION)


def prepare_create(job: Object) -> None:
    """``generateSelector``: pods carry the job's uid and name, the selector asks for the uid."""
    _reset(job)
    spec, meta = job["spec"], job["metadata"]
    if spec.get("manualSelector"):
        return
    labels = child(child(spec["template"], "metadata"), "labels")
    if meta.get("labels") == labels:
        meta["labels"] = labels  # defaulting gave the job its template's labels: both stay the same
    for key in (LEGACY_JOB_NAME, JOB_NAME):
        labels.setdefault(key, meta.get("name", ""))
    for key in (LEGACY_CONTROLLER_UID, CONTROLLER_UID):
        labels.setdefault(key, meta.get("uid", ""))
    wanted = child(child(spec, "selector"), "matchLabels")
    wanted.setdefault(CONTROLLER_UID, meta.get("uid", ""))
    if meta.get("labels") is labels or not meta.get("labels"):
        meta["labels"] = dict(labels)


def warnings(job: Object, old: Object | None) -> list[str]:
    """The template's warnings, and settings that do not scale."""
    spec = job.get("spec") or {}
    return [*name_warnings(job, old), *job_spec_warnings("spec", spec)] if spec_is_new(job, old) else []


_TOO_MANY_INDEXES = (
    "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes "
    "might not be able to track completedIndexes when a big number of indexes fail"
)


def job_spec_warnings(path: str, spec: Mapping[str, Any]) -> list[str]:
    """``WarningsForJobSpec``."""
    completions, parallelism = spec.get("completions") or 0, spec.get("parallelism") or 0
    many = spec.get("completionMode") == "Indexed" and completions > 100_000 and parallelism > 10_000
    found = [f"{path}: {_TOO_MANY_INDEXES}"] if many else []
    return found + template_warnings(f"{path}.template", spec.get("template") or {})


def row(job: Mapping[str, Any], now: float) -> Sequence[Cell]:
    spec, status = part(job, "spec"), part(job, "status")
    template = part(spec, "template", "spec")
    return (
        name(job),
        _status_text(job, status),
        _completions_text(spec, status),
        _duration_text(status, now),
        age(job, now),
        container_names(template),
        container_images(template),
        selector_text(spec.get("selector")),
    )


def _status_text(job: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    conditions = status.get("conditions") or []
    for kind in ("Complete", "Failed"):
        if condition_is_true(conditions, kind):
            return kind
    if part(job, "metadata").get("deletionTimestamp"):
        return "Terminating"
    for kind in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if condition_is_true(conditions, kind):
            return kind
    return "Running"


def _completions_text(spec: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    succeeded = status.get("succeeded", 0)
    if spec.get("completions") is not None:
        return f"{succeeded}/{spec['completions']}"
    parallelism = spec.get("parallelism") or 0
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _duration_text(status: Mapping[str, Any], now: float) -> str:
    started, ended = status.get("startTime"), status.get("completionTime")
    if not started:
        return ""
    return human_duration((parse_time(ended) if ended else now) - parse_time(started))


KIND = Kind(
    resource=JOBS,
    singular="job",
    definition=DEFINITION,
    categories=("all",),
    subresources=(Subresource("status"),),
    default=defaults(DEFINITION, fill),
    prepare_create=gated_create(prepare_create, "spec", "template"),
    prepare_update=gated_update("spec", "template"),
    validate=job_validation.validate_job,
    validate_update=job_validation.validate_job_update,
    validate_status=job_status.validate_job_status,
    warnings=warnings,
    generation=True,
    has_status=True,
    default_propagation="Orphan",
    columns=(
        NAME,
        column("Status", text="Status of the job."),
        column("Completions", f"{_STATUS}.succeeded"),
        column("Duration", text="Time required to complete the job."),
        AGE,
        CONTAINERS,
        IMAGES,
        column("Selector", f"{_SPEC}.selector", wide=True),
    ),
    row=row,
    selectable={"status.successful": lambda job: str(part(job, "status").get("succeeded") or 0)},
    extra={
        "unsupported_field": 'field label "{field}" not supported for Job',
        "orphan_warning": (
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove "
            "them or set propagationPolicy=Orphan to suppress this warning"
        ),
    },
)
