"""Jobs and CronJobs: what their specs and statuses may say, in small tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.batch import cron_job, job
from minikube_py.machinery.kinds.batch.indexes import IndexesError, intervals, overlap
from minikube_py.machinery.kinds.batch.job_status import validate_job_status
from minikube_py.machinery.kinds.batch.job_validation import job_spec_errors
from minikube_py.machinery.objects import Object, thaw

TEMPLATE: Object = {
    "metadata": {"labels": {"a": "b"}},
    "spec": {
        "containers": [{"name": "c", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"}],
        "restartPolicy": "Never",
        "dnsPolicy": "ClusterFirst",
        "terminationGracePeriodSeconds": 30,
    },
}


def told(errors: Any) -> list[str]:
    return [f"{error.field}: {error.body()}" for error in errors]


def spec(**fields: Any) -> Object:
    return {"completions": 3, "parallelism": 1, "completionMode": "Indexed", "template": thaw(TEMPLATE), **fields}


def rule(**fields: Any) -> Object:
    return {"podFailurePolicy": {"rules": [{"action": "FailJob", **fields}]}}


HIGH = {"completions": 200_000, "backoffLimitPerIndex": 1}
CONDITION = {"type": "Ready", "status": "True"}


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        pytest.param({}, [], id="valid"),
        pytest.param(
            {"maxFailedIndexes": 1},
            ["backoffLimitPerIndex: Required value: when maxFailedIndexes is specified"],
            id="indexes that may fail need a limit per index",
        ),
        pytest.param(
            {"managedBy": "example.com/" + "m" * 60},
            ["managedBy: Too long: may not be more than 63 bytes"],
            id="long manager",
        ),
        pytest.param(
            {"completionMode": "Sorted"},
            ['completionMode: Unsupported value: "Sorted": supported values: "NonIndexed", "Indexed"'],
            id="mode",
        ),
        pytest.param(
            {**HIGH, "maxFailedIndexes": 20_000, "parallelism": 20_000},
            [
                f"{field}: Invalid value: 20000: must be less than or equal to 10000 when completions are above 100000 "
                "and used with backoff limit per index"
                for field in ("parallelism", "maxFailedIndexes")
            ],
            id="many completions",
        ),
        pytest.param(
            HIGH,
            ["maxFailedIndexes: Required value: must be specified when completions is above 100000"],
            id="many completions without an end",
        ),
        pytest.param(
            rule(action="", onPodConditions=[CONDITION]),
            [
                "podFailurePolicy.rules[0].action: Required value: "
                'valid values: ["Count" "FailIndex" "FailJob" "Ignore"]'
            ],
            id="no action",
        ),
        pytest.param(
            rule(action="FailIndex", onPodConditions=[CONDITION]),
            [
                'podFailurePolicy.rules[0].action: Invalid value: "FailIndex": '
                "requires the backoffLimitPerIndex to be set"
            ],
            id="an index fails only with a limit",
        ),
        pytest.param(
            rule(onPodConditions=[CONDITION] * 21),
            ["podFailurePolicy.rules[0].onPodConditions: Too many: 21: must have at most 20 items"],
            id="many conditions",
        ),
        pytest.param(
            {"successPolicy": {"rules": [{"succeededIndexes": "0-1", "succeededCount": 3}]}},
            [
                "successPolicy.rules[0].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number "
                "of indexes in the specified succeededIndexes field)"
            ],
            id="more successes than indexes",
        ),
        pytest.param(
            {"successPolicy": {"rules": [{"succeededIndexes": "0-5"}]}},
            [
                'successPolicy.rules[0].succeededIndexes: Invalid value: "0-5": error parsing succeededIndexes: '
                'too large index: "5"'
            ],
            id="index beyond the last",
        ),
    ],
)
def test_job_specs(fields: Object, wanted: list[str]) -> None:
    assert told(job_spec_errors("spec", spec(**fields))) == [f"spec.{text}" for text in wanted]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        ("0", [(0, 0)]),
        ("0,2-4", [(0, 0), (2, 4)]),
        ("1,0", "non-increasing order, previous: 1, current: 0"),
        ("3-3", "non-increasing order, previous: 3, current: 3"),
        ("x", 'cannot convert string to integer for index: "x"'),
        ("9", 'too large index: "9"'),
        (
            "0-1-2",
            'the fragment "0-1-2" violates the requirement that an index interval can have at most two parts '
            "separated by '-'",
        ),
    ],
)
def test_lists_of_indexes(text: str, wanted: list[tuple[int, int]] | str) -> None:
    if isinstance(wanted, str):
        with pytest.raises(IndexesError) as caught:
            intervals(text, 5)
        assert str(caught.value) == wanted
    else:
        assert intervals(text, 5) == wanted


@pytest.mark.parametrize(
    ("completed", "failed", "wanted"),
    [("0-2", "3", None), ("0-2,4", "2-3", 2), ("0,4-8", "1-3,7", 7), ("", "1", None), ("x,1", "1", 1)],
)
def test_indexes_of_two_lists(completed: str, failed: str, wanted: int | None) -> None:
    assert overlap(completed, failed, 10) == wanted


def test_hostnames_of_indexed_jobs_are_labels() -> None:
    called = "n" * 62
    made = {"metadata": {"name": called, "uid": "u"}, "spec": spec(selector={"matchLabels": {"a": "b"}})}
    made["spec"]["manualSelector"] = True
    (error,) = job.KIND.validate(made)
    assert (error.field, error.detail) == (
        "metadata.name",
        f"will not able to create pod with invalid DNS label: {called}-2",
    )


STARTED = "2026-11-21T06:00:00Z"
ENDED = "2026-11-21T06:05:00Z"


def says(*conditions: str, **fields: Any) -> Object:
    return {"conditions": [{"type": kind, "status": "True"} for kind in conditions], **fields}


DONE = says("SuccessCriteriaMet", "Complete", startTime=STARTED, completionTime=ENDED)


@pytest.mark.parametrize(
    ("now", "before", "wanted"),
    [
        pytest.param(DONE, says("SuccessCriteriaMet", startTime=STARTED), [], id="completes"),
        pytest.param(
            says("FailureTarget", "Failed", startTime=STARTED), says(startTime=STARTED), [], id="fails at once"
        ),
        pytest.param(
            says("Complete", startTime=STARTED, completionTime=ENDED),
            says(startTime=STARTED),
            [
                "conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true "
                "condition"
            ],
            id="complete without the criteria",
        ),
        pytest.param(
            says("SuccessCriteriaMet", "Complete", startTime=STARTED),
            {"startTime": STARTED},
            ["completionTime: Required value: completionTime is required for Complete jobs"],
            id="complete without a time",
        ),
        pytest.param(
            says("FailureTarget", "Failed", startTime=STARTED, active=1),
            {"startTime": STARTED, "active": 1},
            ["active: Invalid value: 1: active>0 is invalid for finished job"],
            id="failed with pods",
        ),
        pytest.param(
            says("FailureTarget", "Failed"),
            {},
            ["startTime: Required value: startTime is required for finished job"],
            id="failed before the start",
        ),
        pytest.param(
            says(startTime=STARTED),
            DONE,
            [
                "conditions: Invalid value: cannot disable the terminal Complete=True condition",
                "conditions: Invalid value: cannot disable the SuccessCriteriaMet=True condition",
            ],
            id="an end is for good",
        ),
        pytest.param(
            {"succeeded": 1},
            {"succeeded": 2},
            ["succeeded: Invalid value: 1: cannot decrease the succeeded counter"],
            id="succeeded",
        ),
        pytest.param(
            {"failed": 1}, {"failed": 2}, ["failed: Invalid value: 1: cannot decrease the failed counter"], id="failed"
        ),
        pytest.param(
            {"completedIndexes": "0-1", "failedIndexes": "1"},
            {},
            [
                'failedIndexes: Invalid value: "1": cannot set non-null failedIndexes when backoffLimitPerIndex is '
                "null",
                'failedIndexes: Invalid value: "1": failedIndexes and completedIndexes overlap at index: 1',
            ],
            id="indexes",
        ),
        pytest.param(
            {"active": 1, "ready": 2},
            {},
            ["ready: Invalid value: 2: cannot set more ready pods than active"],
            id="ready",
        ),
        pytest.param({"active": 1, "ready": 2}, {"active": 1, "ready": 2}, [], id="what was there may stay"),
        pytest.param(
            {"uncountedTerminatedPods": {"succeeded": ["u", ""], "failed": ["u"]}},
            {},
            [
                'uncountedTerminatedPods.succeeded[1]: Invalid value: "": must not be empty',
                'uncountedTerminatedPods.failed[0]: Duplicate value: "u"',
            ],
            id="uncounted pods",
        ),
    ],
)
def test_job_statuses(now: Object, before: Object, wanted: list[str]) -> None:
    made = {"spec": spec()}
    errors = validate_job_status({**made, "status": now}, {**made, "status": before})
    assert told(errors) == [f"status.{text}" for text in wanted]


TZ = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"


@pytest.mark.parametrize(
    ("fields", "before", "wanted"),
    [
        pytest.param({}, None, [], id="valid"),
        pytest.param(
            {"schedule": "TZ=UTC x"},
            None,
            ["expected exactly 5 fields, found 1: [x]", TZ],
            id="a zone in a wrong schedule",
        ),
        pytest.param(
            {"schedule": "CRON_TZ=Nowhere/Land * * * * *"},
            None,
            ["provided bad location Nowhere/Land: unknown time zone Nowhere/Land", TZ],
            id="unknown zone in the schedule",
        ),
        pytest.param({"schedule": "TZ=UTC * * * * *"}, {"schedule": "TZ=UTC 1 * * * *"}, [], id="it always had a zone"),
        pytest.param(
            {"schedule": "TZ=UTC * * * * *", "timeZone": "UTC"},
            {"schedule": "TZ=UTC 1 * * * *"},
            ["cannot use both timeZone field and TZ or CRON_TZ in schedule"],
            id="two zones",
        ),
        pytest.param({"timeZone": "../etc"}, None, ["unknown time zone ../etc"], id="no name of a zone"),
        pytest.param({"timeZone": "../etc"}, {"timeZone": "../etc"}, [], id="a zone that was there"),
        pytest.param(
            {"timeZone": "local"},
            None,
            [
                "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
                "unknown time zone local",
            ],
            id="local",
        ),
        pytest.param(
            {"concurrencyPolicy": "Skip"}, None, ['supported values: "Allow", "Forbid", "Replace"'], id="policy"
        ),
    ],
)
def test_cron_jobs(fields: Object, before: Object | None, wanted: list[str]) -> None:
    template = {"spec": spec()}
    base = {"schedule": "* * * * *", "concurrencyPolicy": "Allow", "jobTemplate": template}
    made = {"metadata": {"name": "c"}, "spec": {**base, **fields}}
    if before is None:
        errors = cron_job.KIND.validate(made)
    else:
        errors = cron_job.KIND.validate_update(made, {"metadata": {"name": "c"}, "spec": {**base, **before}})
    assert [error.detail for error in errors] == wanted


def test_templates_of_cron_jobs_have_no_selector() -> None:
    inner = spec(selector={"matchLabels": {"a": "b"}}, manualSelector=True)
    outer = {"schedule": "* * * * *", "concurrencyPolicy": "Allow", "jobTemplate": {"spec": inner}}
    errors = cron_job.KIND.validate({"metadata": {"name": "c"}, "spec": outer})
    assert told(errors) == [
        'spec.jobTemplate.spec.selector: Invalid value: {"matchLabels":{"a":"b"}}: `selector` will be auto-generated',
        'spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "nil", "false"',
    ]


def test_a_zone_in_an_old_schedule_warns_on_every_change() -> None:
    made = {"metadata": {"name": "c"}, "spec": {"schedule": "TZ=UTC * * * * *", "jobTemplate": {"spec": spec()}}}
    assert cron_job.KIND.warnings(made, made) == [
        "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see "
        "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
    ]


@pytest.mark.parametrize(
    ("kind", "wrap", "path"),
    [
        pytest.param(job.KIND, lambda inner: inner, "spec", id="job"),
        pytest.param(
            cron_job.KIND,
            lambda inner: {"schedule": "* * * * *", "jobTemplate": {"spec": inner}},
            "spec.jobTemplate.spec",
            id="cron job",
        ),
    ],
)
def test_many_indexes_are_warned_of(kind: Kind, wrap: Callable[[Object], Object], path: str) -> None:
    made = {"metadata": {"name": "j"}, "spec": wrap(spec(completions=100_001, parallelism=10_001))}
    (warning,) = kind.warnings(made, None)
    assert warning.startswith(f"{path}: In Indexed Jobs with a number of completions higher than 10^5")
    assert kind.warnings(made, made) == []


def test_elastic_jobs_count_successes_down() -> None:
    made = {"spec": spec(completions=3, parallelism=3)}
    before = {**made, "status": {"succeeded": 2, "completedIndexes": "0,2"}}
    assert validate_job_status({**made, "status": {"succeeded": 1, "completedIndexes": "0"}}, before) == []


def suspended(*, template: Object | None = None, suspend: bool = True, **status: Any) -> Object:
    fields = spec(suspend=suspend, manualSelector=True, selector={"matchLabels": {"a": "b"}})
    pod = {**thaw(TEMPLATE)["spec"], **(template or {})}
    return {
        "metadata": {"name": "j", "uid": "u"},
        "spec": {**fields, "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod}},
        "status": status,
    }


AMOUNTS = {"containers": [{**TEMPLATE["spec"]["containers"][0], "resources": {"requests": {"cpu": "1"}}}]}
RULE = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "z", "operator": "Exists"}]}]}
NODES = {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": RULE}}}
PODS = {"affinity": {"podAffinity": {}}}


@pytest.mark.parametrize(
    ("old", "change", "allowed"),
    [
        pytest.param(suspended(), AMOUNTS, True, id="amounts of a suspended job"),
        pytest.param(suspended(), NODES, True, id="its nodes"),
        pytest.param(suspended(), PODS, False, id="not its neighbours"),
        pytest.param(suspended(), {"terminationGracePeriodSeconds": 5}, False, id="not the rest"),
        pytest.param(suspended(startTime=STARTED), AMOUNTS, True, id="started once, no pod left"),
        pytest.param(suspended(startTime=STARTED, active=1), AMOUNTS, False, id="pods are still there"),
        pytest.param(suspended(suspend=False), AMOUNTS, False, id="not suspended"),
    ],
)
def test_templates_of_suspended_jobs(old: Object, change: Object, allowed: bool) -> None:
    new = {**old, "spec": {**old["spec"], "template": suspended(template=change)["spec"]["template"]}}
    fields = [error.field for error in job.KIND.validate_update(new, old) if error.detail == "field is immutable"]
    assert fields == ([] if allowed else ["spec.template"])


def test_what_stays_is_shown_as_kubernetes_has_it_inside() -> None:
    rules = [{"action": "Ignore", "onExitCodes": {"operator": "In", "values": [1]}}]
    changed = {"selector": {"matchLabels": {"c": "d", "a": "b"}}, "podFailurePolicy": {"rules": rules}}
    old, new = ({"metadata": {"name": "j"}, "spec": spec(**found)} for found in ({}, changed))
    shown = [error.body() for error in job.KIND.validate_update(new, old) if error.detail == "field is immutable"]
    assert shown == [
        'Invalid value: {"matchLabels":{"a":"b","c":"d"}}: field is immutable',
        'Invalid value: {"Rules":[{"Action":"Ignore","OnExitCodes":{"ContainerName":null,"Operator":"In","Values":[1]},'
        '"OnPodConditions":null}]}: field is immutable',
    ]
