"""Pods from creation to deletion, through a whole kubelet with a fake runtime.

Not covered here: real containers, mounts, cgroups and streaming (end-to-end suite).
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from kubelet_bench import IMAGE, NODE, Bench, make_pod

from minikube_py.client.types import DeleteOptions, PatchType
from minikube_py.components.kubelet.runtime.fake import FakeImage
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import CONFIG_MAPS, LEASES, NODES, PODS


def conditions(status: Object) -> dict[str, str]:
    return {item["type"]: item["status"] for item in status["conditions"]}


async def test_node_registers_and_becomes_ready(bench: Bench) -> None:
    await bench.until(bench.ready.is_set)
    node = bench.client.one(NODES, NODE)
    assert conditions(node["status"])["Ready"] == "True"
    assert node["status"]["capacity"]["pods"] == "110"
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == NODE
    await bench.until(lambda: bench.client.one(LEASES, NODE, "kube-node-lease"))


async def test_lease_is_renewed_and_status_is_left_alone(bench: Bench) -> None:
    await bench.until(lambda: bench.ready.is_set() and bench.client.all(LEASES))
    before = bench.client.one(LEASES, NODE, "kube-node-lease")["spec"]["renewTime"]
    version = bench.client.one(NODES, NODE)["metadata"]["resourceVersion"]
    await bench.until(
        lambda: bench.client.one(LEASES, NODE, "kube-node-lease")["spec"]["renewTime"] > before, seconds=15
    )
    assert bench.client.one(NODES, NODE)["metadata"]["resourceVersion"] == version


async def test_pod_becomes_ready_without_any_time_passing(bench: Bench) -> None:
    await bench.client.create(PODS, make_pod())
    await bench.until(bench.is_ready)
    status = bench.status()
    assert status["phase"] == "Running"
    assert status["qosClass"] == "BestEffort"
    assert status["hostIP"] == "192.0.2.10" and status["podIP"]
    assert conditions(status) == {
        "PodReadyToStartContainers": "True",
        "Initialized": "True",
        "Ready": "True",
        "ContainersReady": "True",
    }
    assert bench.reasons() == ["Pulled", "Created", "Started"]


async def test_deletion_removes_everything(bench: Bench) -> None:
    await bench.client.create(PODS, make_pod())
    await bench.until(bench.is_ready)
    await bench.client.delete(PODS, "web", "default")
    await bench.until(lambda: not bench.exists(), seconds=40)
    assert "Killing" in bench.reasons()
    await bench.until(lambda: not (bench.settings.root_dir / "pods" / "uid-web").exists())
    await bench.until(lambda: not list(bench.settings.pod_logs_dir.iterdir()))
    assert not await bench.runtime.list_sandboxes()


async def test_forced_deletion_ends_the_containers(bench: Bench) -> None:
    await bench.client.create(PODS, make_pod())
    await bench.until(bench.is_ready)
    await bench.client.delete(PODS, "web", "default", options=DeleteOptions(grace_period_seconds=0))
    assert not bench.exists()
    await bench.until(lambda: not bench.settings.pod_dir("uid-web").exists(), seconds=40)


async def test_crashing_container_restarts_then_backs_off(bench: Bench) -> None:
    bench.runtime.add_image(FakeImage("crash:1", exits=3))
    pod = make_pod(containers=[{"name": "main", "image": "crash:1", "imagePullPolicy": "Never"}])
    await bench.client.create(PODS, pod)
    await bench.until(lambda: "CrashLoopBackOff" in str(bench.container()["state"]))
    waiting = bench.container()["state"]["waiting"]
    assert waiting["message"] == "back-off 10s restarting failed container=main pod=web_default(uid-web)"
    assert bench.container()["lastState"]["terminated"]["exitCode"] == 3
    assert bench.container()["restartCount"] == 1
    await bench.until(lambda: bench.container()["restartCount"] == 2, seconds=15)
    await bench.until(lambda: "back-off 20s" in str(bench.container()["state"]), seconds=5)
    assert bench.phase() == "Running"


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [
        pytest.param("Never", 0, "Succeeded", id="success is final without restarts"),
        pytest.param("Never", 2, "Failed", id="failure is final without restarts"),
        pytest.param("OnFailure", 0, "Succeeded", id="success is final with restarts on failure"),
    ],
)
async def test_finished_pod(bench: Bench, policy: str, code: int, phase: str) -> None:
    bench.runtime.add_image(FakeImage("job:1", exits=code))
    pod = make_pod(restartPolicy=policy, containers=[{"name": "main", "image": "job:1"}])
    await bench.client.create(PODS, pod)
    await bench.until(lambda: bench.phase() == phase)
    assert bench.container()["state"]["terminated"]["exitCode"] == code
    assert conditions(bench.status())["Ready"] == "False"
    await bench.client.delete(PODS, "web", "default")
    await bench.until(lambda: not bench.exists())


async def test_init_containers_run_in_order_and_sidecar_stays(bench: Bench) -> None:
    bench.runtime.add_image(FakeImage("init:1", exits=0))
    pod = make_pod(
        initContainers=[
            {"name": "first", "image": "init:1"},
            {"name": "proxy", "image": IMAGE, "restartPolicy": "Always"},
            {"name": "second", "image": "init:1"},
        ]
    )
    await bench.client.create(PODS, pod)
    await bench.until(bench.is_ready)
    inits = bench.status()["initContainerStatuses"]
    assert [item["name"] for item in inits] == ["first", "proxy", "second"]
    assert [next(iter(item["state"])) for item in inits] == ["terminated", "running", "terminated"]
    assert all(item["ready"] for item in inits)


async def test_missing_image_waits_with_reasons_of_kubernetes(bench: Bench) -> None:
    pod = make_pod(containers=[{"name": "main", "image": "nowhere:1", "imagePullPolicy": "Never"}])
    await bench.client.create(PODS, pod)
    await bench.until(lambda: bench.container()["state"]["waiting"]["reason"] == "ErrImageNeverPull")
    assert bench.phase() == "Pending"
    pod = make_pod("bad", containers=[{"name": "main", "image": "case/UPPER:1"}])
    await bench.client.create(PODS, pod)
    await bench.until(lambda: bench.container("bad")["state"]["waiting"]["reason"] == "InvalidImageName")


async def test_failed_pull_backs_off(bench: Bench) -> None:
    for _ in range(3):
        bench.runtime.fail_next("pull_image", "NOT_FOUND", "no such image")
    pod = make_pod(containers=[{"name": "main", "image": "far:1", "imagePullPolicy": "Always"}])
    await bench.client.create(PODS, pod)
    await bench.until(lambda: bench.container()["state"]["waiting"]["reason"] == "ErrImagePull")
    message = "rpc error: code = NotFound desc = no such image"
    assert bench.container()["state"]["waiting"]["message"] == message


async def test_config_map_volume_waits_appears_and_updates(bench: Bench) -> None:
    pod = make_pod(
        volumes=[{"name": "page", "configMap": {"name": "page"}}],
        containers=[{"name": "main", "image": IMAGE, "volumeMounts": [{"name": "page", "mountPath": "/www"}]}],
    )
    await bench.client.create(PODS, pod)
    await bench.until(lambda: "FailedMount" in bench.reasons())
    assert bench.phase() == "Pending"
    body: Object = {"metadata": {"name": "page", "namespace": "default"}, "data": {"index.html": "one"}}
    await bench.client.create(CONFIG_MAPS, body)
    await bench.until(bench.is_ready)
    file = bench.settings.pod_dir("uid-web") / "volumes/kubernetes.io~configmap/page/index.html"
    assert file.read_text() == "one"
    await bench.client.patch(CONFIG_MAPS, "page", {"data": {"index.html": "two"}}, "default")
    await bench.until(lambda: file.read_text() == "two")


async def test_missing_secret_in_env_is_a_config_error_and_heals(bench: Bench) -> None:
    variable = {"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "key"}}}
    await bench.client.create(PODS, make_pod(containers=[{"name": "main", "image": IMAGE, "env": [variable]}]))
    await bench.until(lambda: bench.container()["state"]["waiting"]["reason"] == "CreateContainerConfigError")
    assert bench.container()["state"]["waiting"]["message"] == 'configmap "settings" not found'
    body: Object = {"metadata": {"name": "settings", "namespace": "default"}, "data": {"key": "value"}}
    await bench.client.create(CONFIG_MAPS, body)
    await bench.until(bench.is_ready)


async def test_restart_of_the_kubelet_adopts_containers(bench: Bench) -> None:
    await bench.client.create(PODS, make_pod())
    await bench.until(bench.is_ready)
    before, version = bench.container_id(), bench.client.one(PODS, "web", "default")["metadata"]["resourceVersion"]
    await bench.stop()
    bench.ready.clear()
    bench.start()
    await bench.until(bench.ready.is_set)
    await bench.clock.settle()
    assert bench.container_id() == before
    assert bench.client.one(PODS, "web", "default")["metadata"]["resourceVersion"] == version


async def test_orphans_are_ended_after_a_restart(bench: Bench) -> None:
    await bench.client.create(PODS, make_pod())
    await bench.until(bench.is_ready)
    await bench.stop()
    await bench.client.delete(PODS, "web", "default", options=DeleteOptions(grace_period_seconds=0))
    bench.start()
    await bench.until(lambda: not bench.settings.pod_dir("uid-web").exists(), seconds=60)


async def test_liveness_failure_restarts(bench: Bench) -> None:
    pod = make_pod(
        containers=[
            {
                "name": "main",
                "image": IMAGE,
                "livenessProbe": {"exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 2},
            }
        ]
    )
    healthy = True

    def answer(container_id: str, command: object) -> object:
        from minikube_py.components.kubelet.runtime.types import ExecResult

        return ExecResult(b"", b"", 0 if healthy else 1)

    bench.runtime.exec_handler = answer  # type: ignore[assignment]
    await bench.client.create(PODS, pod)
    await bench.until(bench.is_ready)
    healthy = False
    await bench.until(lambda: bench.container()["restartCount"] == 1, seconds=40)
    assert "Unhealthy" in bench.reasons()
    await bench.until(lambda: "CrashLoopBackOff" in str(bench.container()["state"]), seconds=40)
    assert bench.container()["restartCount"] == 2, "what ends again soon waits"


async def test_readiness_probe_gates_ready(bench: Bench) -> None:
    pod = make_pod(
        containers=[
            {"name": "main", "image": IMAGE, "readinessProbe": {"exec": {"command": ["check"]}, "periodSeconds": 1}}
        ]
    )
    code = 1

    def answer(container_id: str, command: object) -> object:
        from minikube_py.components.kubelet.runtime.types import ExecResult

        return ExecResult(b"", b"", code)

    bench.runtime.exec_handler = answer  # type: ignore[assignment]
    await bench.client.create(PODS, pod)
    await bench.until(lambda: "running" in bench.container()["state"])
    assert not bench.is_ready()
    code = 0
    await bench.until(bench.is_ready, seconds=5)


async def test_active_deadline_fails_the_pod(bench: Bench) -> None:
    await bench.client.create(PODS, make_pod(activeDeadlineSeconds=5))
    await bench.until(bench.is_ready)
    await bench.until(lambda: bench.phase() == "Failed", seconds=45)
    assert bench.status()["reason"] == "DeadlineExceeded"


async def test_pod_that_does_not_fit_is_rejected(bench: Bench) -> None:
    greedy = {"name": "main", "image": IMAGE, "resources": {"requests": {"cpu": "100000"}}}
    await bench.client.create(PODS, make_pod(containers=[greedy]))
    await bench.until(lambda: bench.phase() == "Failed")
    assert bench.status()["reason"] == "OutOfcpu"


async def test_labels_that_the_node_got_later_count(bench: Bench) -> None:
    await bench.until(bench.ready.is_set)
    label = {"metadata": {"labels": {"disk": "fast"}}}
    await bench.client.patch(NODES, NODE, label, patch_type=PatchType.MERGE)
    await bench.client.create(PODS, make_pod(nodeSelector={"disk": "fast", "kubernetes.io/hostname": NODE}))
    await bench.until(bench.is_ready)
    await bench.client.create(PODS, make_pod("slow", nodeSelector={"disk": "slow"}))
    await bench.until(lambda: bench.phase("slow") == "Failed")
    assert bench.status("slow")["reason"] == "NodeAffinity"


async def test_a_taint_keeps_pods_out_until_it_is_taken_away(bench: Bench) -> None:
    await bench.until(bench.ready.is_set)
    for taints, name, wanted in (([{"key": "k", "effect": "NoExecute"}], "out", "Failed"), ([], "in", "Running")):
        await bench.client.patch(NODES, NODE, {"spec": {"taints": taints}}, patch_type=PatchType.MERGE)
        await bench.client.create(PODS, make_pod(name))
        await bench.until(lambda name=name, wanted=wanted: bench.phase(name) == wanted)
    assert bench.status("out")["reason"] == "TaintToleration"


async def test_resize_changes_the_running_container(bench: Bench) -> None:
    limits = {"resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}}}
    await bench.client.create(PODS, make_pod(containers=[{"name": "main", "image": IMAGE, **limits}]))
    await bench.until(bench.is_ready)
    before = bench.container_id()
    grown = {"requests": {"cpu": "300m"}, "limits": {"cpu": "400m"}}
    patch = {"spec": {"containers": [{"name": "main", "image": IMAGE, "resources": grown}]}}
    await bench.client.patch(PODS, "web", patch, "default")
    await bench.until(lambda: bench.container()["resources"] == grown)
    assert bench.container_id() == before
    status = await bench.runtime.container_status(before)
    assert status.resources is not None and status.resources.cpu_quota == 40000


async def test_eviction_fails_the_pod_with_a_condition(bench: Bench) -> None:
    await bench.stop()
    bench.settings = replace(bench.settings, eviction_memory_available_bytes=1 << 60)
    bench.start()
    await bench.until(bench.ready.is_set)
    await bench.client.create(PODS, make_pod())
    await bench.until(lambda: bench.phase() == "Failed", seconds=60)
    assert bench.status()["reason"] == "Evicted"
    assert conditions(bench.status())["DisruptionTarget"] == "True"
    assert conditions(bench.client.one(NODES, NODE)["status"])["MemoryPressure"] == "True"


async def test_static_pod_runs_and_is_mirrored(bench: Bench) -> None:
    folder = bench.settings.root_dir.parent / "manifests"
    await bench.stop()
    bench.settings = replace(bench.settings, static_pod_dir=folder)
    bench.start()
    await bench.until(bench.ready.is_set)
    await bench.until(folder.is_dir)
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "st"},
        "spec": {"containers": [{"name": "main", "image": IMAGE}]},
    }
    (folder / "st.yaml").write_text(json.dumps(manifest))
    name = f"st-{NODE}"
    await bench.until(lambda: bench.is_ready(name), seconds=5)
    mirror = bench.client.one(PODS, name, "default")
    assert mirror["metadata"]["annotations"]["kubernetes.io/config.source"] == "file"
    assert mirror["metadata"]["ownerReferences"][0]["kind"] == "Node"
    await bench.client.delete(PODS, name, "default", options=DeleteOptions(grace_period_seconds=0))
    await bench.until(lambda: bench.exists(name))
    (folder / "st.yaml").unlink()
    await bench.until(lambda: not bench.exists(name), seconds=60)
    await bench.until(lambda: not list((bench.settings.root_dir / "pods").iterdir()), seconds=40)


async def test_token_is_renewed_in_time(bench: Bench) -> None:
    source = {"serviceAccountToken": {"expirationSeconds": 1000, "path": "token"}}
    pod = make_pod(
        volumes=[{"name": "tok", "projected": {"sources": [source]}}],
        containers=[{"name": "main", "image": IMAGE, "volumeMounts": [{"name": "tok", "mountPath": "/t"}]}],
    )
    await bench.client.create(PODS, pod)
    await bench.until(bench.is_ready)
    file = bench.settings.pod_dir("uid-web") / "volumes/kubernetes.io~projected/tok/token"
    assert file.read_text() == "token-1"
    await bench.until(lambda: file.read_text() == "token-2", seconds=900)


async def test_large_log_is_rotated(bench: Bench) -> None:
    await bench.client.create(PODS, make_pod())
    await bench.until(bench.is_ready)
    path = bench.settings.pod_logs_dir / "default_web_uid-web" / "main" / "0.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(bench.settings.container_log_max_bytes + 1)
    await bench.until(lambda: len(list(path.parent.glob("0.log.*"))) == 1, seconds=70)
    await bench.until(lambda: any(method == "reopen_log" for method, _ in bench.runtime.calls))
