"""CronJob: makes Jobs on a schedule."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, invalid_value, required
from minikube_py.machinery.kind import Cell, Kind, Subresource
from minikube_py.machinery.kinds.batch.job import default_failure_policy, job_spec_warnings
from minikube_py.machinery.kinds.batch.job_validation import job_spec_errors
from minikube_py.machinery.kinds.batch.schedule import schedule_error, zone_exists
from minikube_py.machinery.kinds.common.checks import non_negative, not_supported_in_order
from minikube_py.machinery.kinds.common.go_values import go_selector
from minikube_py.machinery.kinds.common.pod_defaults import default_pod_template
from minikube_py.machinery.kinds.common.pod_gates import gated_create, gated_update
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
    selector_text,
    since,
)
from minikube_py.machinery.kinds.common.setting import child, set_default
from minikube_py.machinery.kinds.common.strategy import defaults, fresh_status
from minikube_py.machinery.kinds.common.workload import name_warnings, spec_is_new
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import CRON_JOBS

DEFINITION = "io.k8s.api.batch.v1.CronJob"
_SPEC, _STATUS = f"{DEFINITION}Spec", f"{DEFINITION}Status"
_POLICIES = ("Allow", "Forbid", "Replace")
_MAX_NAME = 52
"""Names of jobs are the CronJob's name, a hyphen and ten digits, within 63 characters."""


def fill(cron_job: Object) -> None:
    """``SetDefaults_CronJob``."""
    spec = child(cron_job, "spec")
    set_default(spec, concurrencyPolicy="Allow", suspend=False, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1)
    job_spec = child(child(spec, "jobTemplate"), "spec")
    default_failure_policy(job_spec.get("podFailurePolicy"))
    default_pod_template(child(job_spec, "template"))


def validate(cron_job: Object) -> list[FieldError]:
    """``ValidateCronJobCreate``."""
    called = (cron_job.get("metadata") or {}).get("name") or ""
    errors: list[FieldError] = _spec_errors(cron_job.get("spec") or {}, None)
    if len(called) > _MAX_NAME:
        errors.append(invalid_value("metadata.name", called, f"must be no more than {_MAX_NAME} characters"))
    return errors


def _spec_errors(spec: Mapping[str, Any], before: Mapping[str, Any] | None) -> list[FieldError]:
    schedule = spec.get("schedule") or ""
    errors: list[FieldError] = []
    if not schedule:
        errors.append(required("spec.schedule"))
    else:
        errors += _schedule_errors(schedule, spec.get("timeZone"), before)
    errors += non_negative("spec.startingDeadlineSeconds", spec.get("startingDeadlineSeconds"))
    if spec.get("timeZone") is not None and (before is None or before.get("timeZone") != spec["timeZone"]):
        errors += _zone_errors(spec["timeZone"])
    policy = spec.get("concurrencyPolicy") or ""
    if not policy:
        errors.append(required("spec.concurrencyPolicy"))
    elif policy not in _POLICIES:
        errors.append(not_supported_in_order("spec.concurrencyPolicy", policy, _POLICIES))
    job_spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    errors += job_spec_errors("spec.jobTemplate.spec", job_spec)
    if job_spec.get("selector") is not None:
        text = "`selector` will be auto-generated"
        errors.append(invalid_value("spec.jobTemplate.spec.selector", go_selector(job_spec["selector"]), text))
    if job_spec.get("manualSelector"):
        errors.append(not_supported_in_order("spec.jobTemplate.spec.manualSelector", True, ("nil", "false")))
    for field in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        errors += non_negative(f"spec.{field}", spec.get(field))
    return errors


def _schedule_errors(schedule: str, zone: str | None, before: Mapping[str, Any] | None) -> list[FieldError]:
    """A schedule names a time zone only where it always did."""
    wrong = schedule_error(schedule)
    errors = [invalid_value("spec.schedule", schedule, wrong)] if wrong is not None else []
    if "TZ" not in schedule:
        return errors
    if before is None or "TZ" not in (before.get("schedule") or ""):
        text = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        errors.append(invalid_value("spec.schedule", schedule, text))
    elif zone is not None:
        text = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
        errors.append(invalid_value("spec.schedule", schedule, text))
    return errors


_ZONE_PART = re.compile(r"[A-Za-z._0-9+-]{1,14}\Z")


def _zone_errors(zone: str) -> list[FieldError]:
    if not zone:
        return [invalid_value("spec.timeZone", zone, "timeZone must be nil or non-empty string")]
    unknown = invalid_value("spec.timeZone", zone, f"unknown time zone {zone}")
    if any(part in (".", "..") or part.startswith("-") or not _ZONE_PART.match(part) for part in zone.split("/")):
        return [unknown]
    errors = []
    if zone.lower() == "local":
        text = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        errors.append(invalid_value("spec.timeZone", zone, text))
    return errors if zone_exists(zone) else [*errors, unknown]


def validate_update(cron_job: Object, old: Object) -> list[FieldError]:
    """The time zone is checked again only when it changes."""
    return _spec_errors(cron_job.get("spec") or {}, old.get("spec") or {})


_ZONE_IN_SCHEDULE = (
    "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see "
    "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
)


def warnings(cron_job: Object, old: Object | None) -> list[str]:
    """Warnings of the job's spec, and of a zone that the schedule of an older object still names."""
    spec = cron_job.get("spec") or {}
    found = name_warnings(cron_job, old)
    if spec_is_new(cron_job, old):
        found += job_spec_warnings("spec.jobTemplate.spec", part(spec, "jobTemplate", "spec"))
    if old is not None and "TZ" in (spec.get("schedule") or ""):
        found.append(_ZONE_IN_SCHEDULE)
    return found


def row(cron_job: Mapping[str, Any], now: float) -> Sequence[Cell]:
    spec, status = part(cron_job, "spec"), part(cron_job, "status")
    job_spec = part(spec, "jobTemplate", "spec")
    template = part(job_spec, "template", "spec")
    last = status.get("lastScheduleTime")
    return (
        name(cron_job),
        spec.get("schedule") or "",
        "<none>" if spec.get("timeZone") is None else spec["timeZone"],
        "True" if spec.get("suspend") else "False",
        len(status.get("active") or ()),
        since(last, now) if last else "<none>",
        age(cron_job, now),
        container_names(template),
        container_images(template),
        selector_text(job_spec.get("selector")),
    )


KIND = Kind(
    resource=CRON_JOBS,
    singular="cronjob",
    definition=DEFINITION,
    short_names=("cj",),
    categories=("all",),
    subresources=(Subresource("status"),),
    default=defaults(DEFINITION, fill),
    prepare_create=gated_create(fresh_status(DEFINITION), "spec", "jobTemplate", "spec", "template"),
    prepare_update=gated_update("spec", "jobTemplate", "spec", "template"),
    validate=validate,
    validate_update=validate_update,
    warnings=warnings,
    generation=True,
    has_status=True,
    columns=(
        NAME,
        column("Schedule", f"{_SPEC}.schedule"),
        column("Timezone", f"{_SPEC}.timeZone"),
        column("Suspend", f"{_SPEC}.suspend", type="boolean"),
        column("Active", f"{_STATUS}.active", type="integer"),
        column("Last Schedule", f"{_STATUS}.lastScheduleTime"),
        AGE,
        CONTAINERS,
        IMAGES,
        column("Selector", "io.k8s.api.batch.v1.JobSpec.selector", wide=True),
    ),
    row=row,
)
