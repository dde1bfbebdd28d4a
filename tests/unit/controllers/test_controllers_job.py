"""Jobs and CronJobs against the API in memory; schedules and indexes as tables."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from controllers_world import NAMESPACE, World

from minikube_py.components.controllers.cronjob.controller import CronJobController
from minikube_py.components.controllers.cronjob.schedule import parse_schedule
from minikube_py.components.controllers.job.controller import JobController
from minikube_py.components.controllers.job.indexes import format_indexes, index_of, parse_indexes
from minikube_py.components.controllers.ttl_after_finished import TtlAfterFinishedController
from minikube_py.machinery.conditions import condition_is_true, find_condition
from minikube_py.machinery.objects import Object, name_of
from minikube_py.machinery.resources import CRON_JOBS, JOBS, PODS


def job(**spec: object) -> Object:
    labels = {"job-name": "j"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c"}], "restartPolicy": "Never"}}
    defaults = {"parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed"}
    return {
        "metadata": {"name": "j"},
        "spec": {**defaults, "selector": {"matchLabels": labels}, "template": template, **spec},
    }


async def start(world: World, **spec: object) -> None:
    world.start(JobController)
    await world.client.create(JOBS, job(**spec), NAMESPACE)
    await world.settle()


def live(world: World) -> Object:
    return world.client.one(JOBS, "j", NAMESPACE)


def active(world: World) -> list[Object]:
    ended = ("Succeeded", "Failed")
    return [
        pod
        for pod in world.pods()
        if (pod.get("status") or {}).get("phase") not in ended and not pod["metadata"].get("deletionTimestamp")
    ]


async def finish(world: World, phase: str, count: int = 1, exit_code: int = 0) -> None:
    for pod in active(world)[:count]:
        state = {"name": "c", "state": {"terminated": {"exitCode": exit_code}}}
        await world.set_pod(pod, phase, containerStatuses=[state])
    await world.settle()


async def test_a_job_completes_and_lets_its_pods_go(world: World) -> None:
    await start(world, parallelism=2, completions=3)
    assert (len(active(world)), live(world)["status"]["active"]) == (2, 2)
    await finish(world, "Succeeded", 2)
    assert len(active(world)) == 1
    await finish(world, "Succeeded")
    status = live(world)["status"]
    assert (status["succeeded"], status["uncountedTerminatedPods"]) == (3, {})
    assert [c["type"] for c in status["conditions"] if c["status"] == "True"] == ["SuccessCriteriaMet", "Complete"]
    assert all("finalizers" not in pod["metadata"] for pod in world.pods())
    assert world.recorder.reasons()[-1] == "Completed"


async def test_failures_back_off_and_then_fail_the_job(world: World) -> None:
    await start(world, backoffLimit=1)
    await finish(world, "Failed", exit_code=1)
    assert active(world) == []
    await world.settle(10)
    assert len(active(world)) == 1
    await finish(world, "Failed", exit_code=1)
    failed = find_condition(live(world)["status"]["conditions"], "Failed")
    assert failed is not None
    assert failed["reason"] == "BackoffLimitExceeded"
    assert live(world)["status"]["failed"] == 2


async def test_the_deadline_ends_a_job(world: World) -> None:
    await start(world, activeDeadlineSeconds=30)
    await world.settle(31)
    assert active(world) == []
    failed = find_condition(live(world)["status"]["conditions"], "Failed")
    assert failed is not None
    assert failed["reason"] == "DeadlineExceeded"


async def test_an_indexed_job_runs_each_index_once(world: World) -> None:
    await start(world, parallelism=2, completions=3, completionMode="Indexed")
    assert {index_of(pod) for pod in active(world)} == {0, 1}
    pod = active(world)[0]
    assert pod["spec"]["hostname"] == f"j-{index_of(pod)}"
    assert pod["spec"]["containers"][0]["env"][0]["name"] == "JOB_COMPLETION_INDEX"
    await finish(world, "Succeeded", 2)
    assert [index_of(pod) for pod in active(world)] == [2]
    await finish(world, "Succeeded")
    assert live(world)["status"]["completedIndexes"] == "0-2"


async def test_a_failed_index_fails_the_job_only_at_the_end(world: World) -> None:
    await start(world, parallelism=2, completions=2, completionMode="Indexed", backoffLimitPerIndex=0, backoffLimit=99)
    first = next(pod for pod in active(world) if index_of(pod) == 0)
    await world.set_pod(first, "Failed")
    await world.settle(20)
    assert [index_of(pod) for pod in active(world)] == [1]
    await finish(world, "Succeeded")
    failed = find_condition(live(world)["status"]["conditions"], "Failed")
    assert failed is not None
    assert (failed["reason"], live(world)["status"]["failedIndexes"]) == ("FailedIndexes", "0")


async def test_suspending_takes_pods_away_and_resuming_brings_them_back(world: World) -> None:
    await start(world, parallelism=2, completions=2)
    await world.client.patch(JOBS, "j", {"spec": {"suspend": True}}, NAMESPACE)
    await world.settle()
    assert active(world) == []
    assert "startTime" not in live(world)["status"]
    await world.client.patch(JOBS, "j", {"spec": {"suspend": False}}, NAMESPACE)
    await world.settle()
    assert len(active(world)) == 2


@pytest.mark.parametrize(
    ("action", "failed", "ends"),
    [("FailJob", 1, True), ("Ignore", 0, False), ("Count", 1, False)],
    ids=["fails the job", "is not counted", "is counted"],
)
async def test_the_pod_failure_policy_decides(world: World, action: str, failed: int, ends: bool) -> None:
    rule = {"action": action, "onExitCodes": {"operator": "In", "values": [42]}}
    await start(world, podFailurePolicy={"rules": [rule]})
    await finish(world, "Failed", exit_code=42)
    await world.settle(15)
    status = live(world)["status"]
    assert status.get("failed", 0) == failed
    assert condition_is_true(status.get("conditions"), "Failed") is ends


async def test_the_success_policy_ends_the_rest(world: World) -> None:
    policy = {"rules": [{"succeededIndexes": "0"}]}
    await start(world, parallelism=3, completions=3, completionMode="Indexed", successPolicy=policy)
    await world.set_pod(next(pod for pod in active(world) if index_of(pod) == 0), "Succeeded")
    await world.settle()
    assert active(world) == []
    assert condition_is_true(live(world)["status"]["conditions"], "Complete")


async def test_a_finished_job_goes_after_its_time(world: World) -> None:
    world.start(TtlAfterFinishedController)
    await start(world, ttlSecondsAfterFinished=60)
    await finish(world, "Succeeded")
    await world.settle(50)
    assert len(world.client.all(JOBS, NAMESPACE)) == 1
    await world.settle(15)
    assert world.client.written("delete", "jobs") == ["default/j"]


async def test_pods_of_a_deleted_job_are_not_held(world: World) -> None:
    await start(world)
    await world.client.delete(JOBS, "j", NAMESPACE)
    await world.client.delete(PODS, name_of(world.pods()[0]), NAMESPACE)
    await world.settle()
    assert world.pods() == []


@pytest.mark.parametrize(
    ("text", "indexes"),
    [("", set()), ("0", {0}), ("0,1", {0, 1}), ("0-2,4", {0, 1, 2, 4}), ("1,3-5,7,8", {1, 3, 4, 5, 7, 8})],
)
def test_indexes_have_one_text(text: str, indexes: set[int]) -> None:
    assert format_indexes(indexes) == text
    assert parse_indexes(text, 10) == indexes


@pytest.mark.parametrize(
    ("schedule", "after", "due"),
    [
        ("*/15 * * * *", "2026-11-21T06:20:13Z", "2026-11-21T06:30:00Z"),
        ("0 0 1 1 *", "2026-11-21T06:20:13Z", "2027-01-01T00:00:00Z"),
        ("30 4 * * sun", "2026-11-21T06:20:13Z", "2026-11-22T04:30:00Z"),
        ("0 0 13 * 5", "2026-11-21T00:00:00Z", "2026-11-27T00:00:00Z"),
        ("@hourly", "2026-11-21T06:00:00Z", "2026-11-21T07:00:00Z"),
        ("@every 90s", "2026-11-21T06:00:00Z", "2026-11-21T06:01:30Z"),
        ("TZ=Europe/Berlin 30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z"),
        ("0 12 29 feb *", "2026-11-21T06:20:13Z", "2028-02-29T12:00:00Z"),
    ],
)
def test_schedules(schedule: str, after: str, due: str) -> None:
    moment = parse_schedule(schedule).after(datetime.fromisoformat(after).timestamp())
    assert moment is not None
    assert datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") == due


@pytest.mark.parametrize("schedule", ["", "* * * *", "60 * * * *", "*/0 * * * *", "@never", "5-1 * * * *", "x * * * *"])
def test_malformed_schedules_are_refused(schedule: str) -> None:
    with pytest.raises(ValueError):
        parse_schedule(schedule)


async def start_cron(world: World, **spec: object) -> None:
    world.start(CronJobController)
    world.start(JobController)
    cron = {
        "metadata": {"name": "c"},
        "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": job()["spec"]}, **spec},
    }
    await world.client.create(CRON_JOBS, cron, NAMESPACE)
    await world.settle()


@pytest.mark.parametrize(("policy", "jobs"), [("Allow", 3), ("Forbid", 1), ("Replace", 1)])
async def test_concurrency_of_cron_jobs(world: World, policy: str, jobs: int) -> None:
    await start_cron(world, concurrencyPolicy=policy)
    await world.settle(180)
    assert len(world.client.all(JOBS, NAMESPACE)) == jobs
    assert len(world.client.one(CRON_JOBS, "c", NAMESPACE)["status"]["active"]) == jobs


async def test_finished_jobs_are_kept_up_to_the_limit(world: World) -> None:
    await start_cron(world, successfulJobsHistoryLimit=2)
    for _ in range(5):
        await world.settle(60)
        await finish(world, "Succeeded")
    assert len(world.client.all(JOBS, NAMESPACE)) <= 3
    assert world.client.one(CRON_JOBS, "c", NAMESPACE)["status"]["lastSuccessfulTime"]


async def test_missed_runs_are_made_good_once(world: World) -> None:
    await start_cron(world, suspend=True)
    await world.settle(3600)
    assert world.client.all(JOBS, NAMESPACE) == []
    await world.client.patch(CRON_JOBS, "c", {"spec": {"suspend": False}}, NAMESPACE)
    await world.settle()
    assert len(world.client.all(JOBS, NAMESPACE)) == 1
