"""sig-apps conformance: Jobs and CronJobs, with real pods.

CronJobs are due once a minute, and failed indexes wait ten seconds: both are begun first and looked at last.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cluster import wait_until
from conformance_api import Api
from conformance_workloads import PATIENCE, is_true, merge, owner_of, pods_of, template, update

pytestmark = pytest.mark.usefixtures("core")
LAST = "exec sleep 1000"
ODD_FAILS = "test $((I % 2)) = 0"


def batch(namespace: str, kind: str = "jobs") -> str:
    return f"/apis/batch/v1/namespaces/{namespace}/{kind}"


def job_of(script: str, **spec: Any) -> dict[str, Any]:
    """The spec of a Job; ``restart`` is its pods' restart policy."""
    restart = spec.pop("restart", "Never")
    return {"template": template({}, script, spec={"restartPolicy": restart}), **spec}


def indexed(script: str, count: int, **spec: Any) -> dict[str, Any]:
    """A Job of ``count`` indexes that run at once; the script finds its own in ``$I``."""
    whole = f"I=$JOB_COMPLETION_INDEX; {script}"
    return job_of(whole, **{"completionMode": "Indexed", "completions": count, "parallelism": count, **spec})


def run(api: Api, namespace: str, name: str, spec: dict[str, Any]) -> str:
    api("POST", batch(namespace), {"metadata": {"name": name}, "spec": spec})
    return f"{batch(namespace)}/{name}"


def ended(api: Api, path: str, condition: str = "Complete") -> tuple[dict[str, Any], dict[str, str]]:
    """Wait for the end of the Job; (its status, the reasons of its true conditions)."""

    def over() -> dict[str, Any] | None:
        found = dict(api("GET", path))
        return found if is_true(found, "Complete") or is_true(found, "Failed") else None

    found = wait_until(f"{path} ended", over, seconds=PATIENCE)
    assert is_true(found, condition), found["status"]
    reasons = {
        each["type"]: each.get("reason", "") for each in found["status"]["conditions"] if each["status"] == "True"
    }
    return found["status"], reasons


@pytest.fixture(scope="module")
def crons(api: Api) -> Iterator[str]:
    """A namespace with a CronJob of each policy, due every minute, whose Jobs never end; a Job of failing indexes."""
    name = f"cron-{secrets.token_hex(3)}"
    api("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    wait_until("ServiceAccount", lambda: not api.gone(account), every=0.02)
    run(api, name, "each", indexed(ODD_FAILS, 4, backoffLimitPerIndex=1))
    for policy, more in (("Allow", {}), ("Forbid", {}), ("Replace", {}), ("suspended", {"suspend": True})):
        spec = {"schedule": "*/1 * * * *", "jobTemplate": {"spec": job_of(LAST)}, **more}
        if policy != "suspended":
            spec["concurrencyPolicy"] = policy
        cron = {"metadata": {"name": policy.lower()}, "spec": spec}
        api("POST", batch(name, "cronjobs"), cron)
        # as if its last run had been minutes ago: the first Job is due now
        ago = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 200))
        merge(api, f"{batch(name, 'cronjobs')}/{policy.lower()}/status", {"status": {"lastScheduleTime": ago}})
    yield name
    api.exchange("DELETE", f"/api/v1/namespaces/{name}")


@pytest.mark.usefixtures("crons")
def test_indexes(api: Api, core: str, namespace: str) -> None:
    """Each index has its annotation, label, variable and host name; the Job ends when all indexes succeeded."""
    path = run(api, namespace, "indexed", indexed('echo "$I $(hostname)"', 4, parallelism=2))
    status, reasons = ended(api, path)
    assert (status["succeeded"], status["completedIndexes"]) == (4, "0-3")
    assert reasons["Complete"] == reasons["SuccessCriteriaMet"] == "CompletionsReached"
    seen = set()
    for item in pods_of(api, core, "job-name=indexed"):
        meta = item["metadata"]
        index = meta["annotations"]["batch.kubernetes.io/job-completion-index"]
        assert meta["labels"]["batch.kubernetes.io/job-completion-index"] == index
        seen.add(api.exchange("GET", f"{core}/pods/{meta['name']}/log")[2].decode().strip())
        assert item["spec"]["hostname"] == f"indexed-{index}"
    assert seen == {f"{index} indexed-{index}" for index in range(4)}


def test_success_policies(api: Api, core: str, namespace: str) -> None:
    """A Job succeeds by its rules, also while other indexes still run; those are ended."""
    one = {"successPolicy": {"rules": [{"succeededCount": 1}]}}
    chosen = {"successPolicy": {"rules": [{"succeededIndexes": "1"}]}}
    every = {"successPolicy": {"rules": [{"succeededIndexes": "0-1"}]}}
    wait = f"if [ $I = 0 ]; then {LAST}; fi"
    paths = {
        "all": run(api, namespace, "all", indexed("exit 0", 2, **every)),
        "count": run(api, namespace, "count", indexed(wait, 2, **one)),
        "indexes": run(api, namespace, "indexes", indexed(wait, 2, **chosen)),
    }
    for name, path in paths.items():
        status, reasons = ended(api, path)
        assert reasons["SuccessCriteriaMet"] == reasons["Complete"] == "SuccessPolicy"
        assert status["completedIndexes"] == ("0,1" if name == "all" else "1")
        assert (status.get("active", 0), status.get("ready", 0)) == (0, 0)
        assert not [item for item in pods_of(api, core, f"job-name={name}") if item["status"]["phase"] == "Running"]


def test_failure_policy_fails_the_job_early(api: Api, namespace: str) -> None:
    rule = {"action": "FailJob", "onExitCodes": {"containerName": "c", "operator": "In", "values": [42]}}
    path = run(api, namespace, "early", indexed("exit 42", 1, podFailurePolicy={"rules": [rule]}, backoffLimit=6))
    status, reasons = ended(api, path, "Failed")
    assert reasons["Failed"] == "PodFailurePolicy" and status["failed"] == 1


def test_disruptions_are_ignored_by_the_failure_policy(api: Api, core: str, namespace: str) -> None:
    """A pod that was evicted is made anew and does not count; its failure would have ended the Job."""
    ignore = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    fail = {"action": "FailJob", "onExitCodes": {"containerName": "c", "operator": "NotIn", "values": [0]}}
    policy = {"rules": [ignore, fail]}
    # the second pod finds the annotation of the test in its downward volume and succeeds
    script = "trap 'exit 1' TERM; while ! grep -q go=.yes /info/a; do sleep 0.1; done"
    spec = indexed(script, 1, backoffLimit=0, podFailurePolicy=policy)
    annotations = {"path": "a", "fieldRef": {"fieldPath": "metadata.annotations"}}
    inner = spec["template"]["spec"]
    inner["volumes"] = [{"name": "info", "downwardAPI": {"items": [annotations]}}]
    inner["containers"][0]["volumeMounts"] = [{"name": "info", "mountPath": "/info"}]
    inner["terminationGracePeriodSeconds"] = 5
    path = run(api, namespace, "kept", spec)
    running = lambda: [item for item in pods_of(api, core) if is_true(item, "Ready")]  # noqa: E731
    (first,) = wait_until("running", running, seconds=PATIENCE)
    name = first["metadata"]["name"]
    api("POST", f"{core}/pods/{name}/eviction", {"metadata": {"name": name}})
    second = wait_until(
        "another pod", lambda: [item for item in running() if item["metadata"]["name"] != name], seconds=PATIENCE
    )[0]
    merge(api, f"{core}/pods/{second['metadata']['name']}", {"metadata": {"annotations": {"go": "yes"}}})
    status, _ = ended(api, path)
    assert (status["succeeded"], status.get("failed", 0)) == (1, 0)


def test_local_restarts(api: Api, namespace: str) -> None:
    """Containers that fail once are restarted where they are; no pod fails."""
    script = "if [ -e /data/seen ]; then exit 0; fi; touch /data/seen; exit 1"
    spec = job_of(script, restart="OnFailure", completions=3, parallelism=2, backoffLimit=6)
    inner = spec["template"]["spec"]
    inner["volumes"] = [{"name": "data", "emptyDir": {}}]
    inner["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    status, _ = ended(api, run(api, namespace, "restarts", spec))
    assert (status["succeeded"], status.get("failed", 0)) == (3, 0)


def test_adopting_releasing_and_deleting(api: Api, core: str, namespace: str) -> None:
    path = run(api, namespace, "parallel", job_of(LAST, completions=4, parallelism=2, backoffLimit=6))
    first, second = wait_until("pods", lambda: (f := pods_of(api, core)) and len(f) == 2 and f)
    orphan, other = (f"{core}/pods/{item['metadata']['name']}" for item in (first, second))
    merge(api, orphan, {"metadata": {"ownerReferences": None}})
    wait_until("adopted again", lambda: owner_of(api("GET", orphan)) == "parallel")
    labels = dict.fromkeys(second["metadata"]["labels"])
    merge(api, other, {"metadata": {"labels": labels}})
    wait_until("released", lambda: not owner_of(api("GET", other)))
    wait_until("replaced", lambda: len(pods_of(api, core, "job-name=parallel")) == 2)
    api("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"})
    wait_until("deleted", lambda: api.gone(path), seconds=PATIENCE)
    assert not pods_of(api, core, "job-name=parallel") and not api.gone(other)


def test_status_and_lifecycle(api: Api, namespace: str) -> None:
    """Patches and updates of the status, of a suspended Job, lists everywhere, deleting a collection."""
    label = {"e2e-job": namespace}
    spec = job_of(LAST, suspend=True)
    meta = {"name": "idle", "labels": label}
    api("POST", batch(namespace), {"metadata": meta, "spec": spec})
    path = f"{batch(namespace)}/idle"
    wait_until("suspended", lambda: is_true(api("GET", path), "Suspended"))
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    patch = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"terminating": 0}}
    assert merge(api, f"{path}/status", patch)["metadata"]["annotations"]["patchedstatus"] == "true"
    extra = {"type": "StatusUpdate", "status": "True", "lastTransitionTime": now, "lastProbeTime": now}
    found = update(api, path, lambda found: found["status"]["conditions"].append(extra), at="/status")
    assert is_true(found, "StatusUpdate")
    assert is_true(api("GET", f"{path}/status"), "StatusUpdate")
    assert merge(api, path, {"metadata": {"labels": {"a": "patched"}}})["metadata"]["labels"]["a"] == "patched"
    found = api("GET", path)
    found["metadata"]["annotations"] = {"updated": "true"}
    found["metadata"].pop("resourceVersion")
    found["spec"]["suspend"] = False
    assert api("PUT", path, found)["metadata"]["annotations"]["updated"] == "true"
    wait_until("active", lambda: api("GET", path)["status"].get("active") == 1)
    query = f"?labelSelector=e2e-job={namespace}"
    assert [item["metadata"]["name"] for item in api("GET", f"/apis/batch/v1/jobs{query}")["items"]] == ["idle"]
    api("DELETE", batch(namespace) + query)
    wait_until("deleted", lambda: not api("GET", batch(namespace) + query)["items"], seconds=PATIENCE)


def test_limits_of_failing_indexes(api: Api, namespace: str, crons: str) -> None:
    """backoffLimitPerIndex, maxFailedIndexes, and the action FailIndex."""
    rule = {"action": "FailIndex", "onExitCodes": {"containerName": "c", "operator": "In", "values": [13]}}
    never = {"podFailurePolicy": {"rules": [rule]}, "backoffLimitPerIndex": 1}
    most = run(
        api, namespace, "most", indexed(ODD_FAILS, 10, parallelism=1, backoffLimitPerIndex=0, maxFailedIndexes=1)
    )
    marked = run(api, namespace, "marked", indexed("if [ $I = 0 ]; then exit 13; fi", 2, **never))
    status, reasons = ended(api, marked, "Failed")
    assert (status["failedIndexes"], status["completedIndexes"], status["failed"]) == ("0", "1", 1)
    assert reasons["Failed"] == "FailedIndexes"
    status, reasons = ended(api, most, "Failed")
    assert reasons["Failed"] == reasons["FailureTarget"] == "MaxFailedIndexesExceeded"
    assert (status["failedIndexes"], status["completedIndexes"]) == ("1,3", "0,2")
    status, reasons = ended(api, f"{batch(crons)}/each", "Failed")
    assert reasons["Failed"] == "FailedIndexes"
    assert (status["failedIndexes"], status["completedIndexes"]) == ("1,3", "0,2")
    assert (status["failed"], status["succeeded"]) == (4, 2)


def test_policies_of_cron_jobs(api: Api, crons: str) -> None:
    """Each had a Job at once, the next minute brings another: beside it, not at all, in its place; suspended: none."""

    def jobs(name: str) -> list[str]:
        items = api("GET", batch(crons))["items"]
        return sorted(item["metadata"]["name"] for item in items if owner_of(item) == name)

    def active(name: str) -> list[str]:
        status = api("GET", f"{batch(crons, 'cronjobs')}/{name}").get("status") or {}
        return sorted(item["name"] for item in status.get("active") or [])

    def second() -> bool:
        """Both have seen a later minute than the first of their Jobs."""
        reasons = [item["reason"] for item in api("GET", f"/api/v1/namespaces/{crons}/events")["items"]]
        return "JobAlreadyActive" in reasons and len(active("allow")) >= 2 and "SuccessfulDelete" in reasons

    wait_until("another minute", second, seconds=200)
    wait_until("replaced", lambda: len(jobs("replace")) == 1 == len(active("replace")), seconds=PATIENCE)
    assert len(jobs("allow")) >= 2 and len(jobs("forbid")) == 1 == len(active("forbid"))
    assert jobs("suspended") == [] == active("suspended")
    assert jobs("replace")[0] >= max(jobs("allow")[:2]).replace("allow", "replace")
