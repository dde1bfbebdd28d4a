"""The kubelet's metrics: names, types and labels as Kubernetes has them, and values that follow what happens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kubelet_bench import IMAGE, NODE, Bench, make_pod
from kubelet_metrics_facts import CADVISOR, KUBELET
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from minikube_py.client.testing import FakeClock
from minikube_py.components.kubelet import component
from minikube_py.components.kubelet.api import cadvisor
from minikube_py.components.kubelet.api.measures import Disk, Measured
from minikube_py.components.kubelet.kit import Kit
from minikube_py.components.kubelet.metrics import KubeletMetrics
from minikube_py.components.kubelet.node.cgroup_stats import Usage, interfaces_of, usage_of
from minikube_py.components.kubelet.node.facts import Machine
from minikube_py.components.kubelet.pods.cgroups import Cgroups
from minikube_py.components.kubelet.runtime.counted import OPERATIONS, counted
from minikube_py.components.kubelet.runtime.fake import FakeImage, FakeRuntime
from minikube_py.components.kubelet.runtime.types import ContainerStats, Runtime, RuntimeFailure
from minikube_py.machinery.resources import PODS
from minikube_py.machinery.times import rfc3339

PATH = "/kubepods/burstable/podu1/c1"


def facts(table: str) -> dict[str, tuple[str, frozenset[str]]]:
    rows = [line.split() for line in table.split("\n") if line]
    return {name: (kind, frozenset(labels[0].split(",")) if labels else frozenset()) for name, kind, *labels in rows}


def test_names_types_and_labels_of_the_kubelet() -> None:
    registry = CollectorRegistry()
    KubeletMetrics(registry, NODE, 2)
    shown = {}
    for metric in registry._collector_to_names:
        name = metric._name + ("_total" if metric._type == "counter" else "")  # type: ignore[attr-defined]
        shown[name] = (metric._type, frozenset(metric._labelnames))  # type: ignore[attr-defined]
    known = facts(KUBELET)
    assert {name: shown.get(name) for name in known} == known


def tree(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


VERSION_1 = {
    f"cpuacct{PATH}/cpuacct.usage": "1500000000\n",
    f"cpuacct{PATH}/cpuacct.stat": "user 100\nsystem 50\n",
    f"cpu{PATH}/cpu.stat": "nr_periods 10\nnr_throttled 4\nthrottled_time 2000000000\n",
    f"cpu{PATH}/cpu.cfs_quota_us": "50000\n",
    f"cpu{PATH}/cpu.cfs_period_us": "100000\n",
    f"cpu{PATH}/cpu.shares": "1024\n",
    f"memory{PATH}/memory.usage_in_bytes": "5000\n",
    f"memory{PATH}/memory.max_usage_in_bytes": "9000\n",
    f"memory{PATH}/memory.failcnt": "3\n",
    f"memory{PATH}/memory.limit_in_bytes": "9223372036854771712\n",
    f"memory{PATH}/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    f"memory{PATH}/memory.stat": "cache 1\ntotal_cache 2000\ntotal_rss 2500\ntotal_mapped_file 10\ntotal_swap 7\n"
    "total_inactive_file 1200\ntotal_active_file 800\npgfault 5\ntotal_pgfault 6\npgmajfault 1\ntotal_pgmajfault 1\n",
    f"pids{PATH}/pids.current": "8\n",
    f"pids{PATH}/pids.max": "max\n",
    f"pids{PATH}/cgroup.procs": "11\n12\n",
    f"blkio{PATH}/blkio.throttle.io_service_bytes": "8:0 Read 4096\n8:0 Write 8192\n8:0 Sync 1\nTotal 12288\n",
    f"blkio{PATH}/blkio.throttle.io_serviced": "8:0 Read 1\n8:0 Write 2\n",
}
VERSION_2 = {
    f"{PATH[1:]}/cpu.stat": "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n"
    "nr_periods 10\nnr_throttled 4\nthrottled_usec 2000000\n",
    f"{PATH[1:]}/cpu.max": "50000 100000\n",
    f"{PATH[1:]}/cpu.weight": "39\n",
    f"{PATH[1:]}/memory.current": "5000\n",
    f"{PATH[1:]}/memory.peak": "9000\n",
    f"{PATH[1:]}/memory.max": "max\n",
    f"{PATH[1:]}/memory.events": "low 0\nhigh 0\nmax 3\noom 2\noom_kill 2\n",
    f"{PATH[1:]}/memory.swap.current": "7\n",
    f"{PATH[1:]}/memory.stat": "anon 2500\nfile 2000\nkernel 77\nfile_mapped 10\ninactive_file 1200\nactive_file 800\n"
    "pgfault 6\npgmajfault 1\n",
    f"{PATH[1:]}/pids.current": "8\n",
    f"{PATH[1:]}/pids.max": "max\n",
    f"{PATH[1:]}/cgroup.procs": "11\n12\n",
    f"{PATH[1:]}/io.stat": "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n",
}
EXPECTED = {
    "container_cpu_usage_seconds_total": 1.5,
    "container_cpu_user_seconds_total": 1.0,
    "container_cpu_system_seconds_total": 0.5,
    "container_cpu_cfs_periods_total": 10,
    "container_cpu_cfs_throttled_periods_total": 4,
    "container_cpu_cfs_throttled_seconds_total": 2.0,
    "container_memory_usage_bytes": 5000,
    "container_memory_working_set_bytes": 3800,
    "container_memory_cache": 2000,
    "container_memory_rss": 2500,
    "container_memory_swap": 7,
    "container_memory_mapped_file": 10,
    "container_memory_failcnt": 3,
    "container_memory_max_usage_bytes": 9000,
    "container_memory_total_inactive_file_bytes": 1200,
    "container_memory_total_active_file_bytes": 800,
    "container_oom_events_total": 2,
    "container_spec_cpu_period": 100000,
    "container_spec_cpu_quota": 50000,
    "container_spec_memory_limit_bytes": 0,
    "container_threads": 8,
    "container_threads_max": 0,
}
DISK = {
    "container_fs_reads_bytes_total": 4096,
    "container_fs_writes_bytes_total": 8192,
    "container_fs_reads_total": 1,
    "container_fs_writes_total": 2,
}


@pytest.mark.parametrize(("version", "files"), [(1, VERSION_1), (2, VERSION_2)])
def test_what_the_kernel_counts_for_a_cgroup(tmp_path: Path, version: int, files: dict[str, str]) -> None:
    usage = usage_of(Cgroups(tree(tmp_path, files), version), PATH)
    assert {name: usage.values.get(name) for name in EXPECTED} == pytest.approx(EXPECTED)
    assert usage.values["container_spec_cpu_shares"] == pytest.approx(1024, rel=0.05)
    assert usage.disks == {"8:0": DISK}
    assert usage.failures[("pgfault", "hierarchy")] == 6
    assert usage.processes == (11, 12)


@pytest.mark.parametrize("version", [1, 2])
def test_what_is_not_there_has_no_value(tmp_path: Path, version: int) -> None:
    assert usage_of(Cgroups(tmp_path, version), PATH) == Usage({})
    without_quota = {**VERSION_2, f"{PATH[1:]}/cpu.max": "max 100000\n"} if version == 2 else {
        **VERSION_1, f"cpu{PATH}/cpu.cfs_quota_us": "-1\n"}  # fmt: skip
    values = usage_of(Cgroups(tree(tmp_path, without_quota), version), PATH).values
    assert "container_cpu_cfs_periods_total" not in values
    assert "container_spec_cpu_quota" not in values
    assert values["container_spec_cpu_period"] == 100000


def test_a_process_that_has_ended_has_no_interfaces() -> None:
    assert interfaces_of(2**30) == []


MACHINE = Machine(
    cpus=2, memory_bytes=1000, swap_bytes=0, disk_bytes=0, hugepages={}, machine_id="m", system_uuid="s", boot_id="b",
    kernel="k", os_image="Debian", architecture="amd64",
)  # fmt: skip


def measured() -> Measured:
    pod = make_pod()
    pod["metadata"]["uid"] = "u1"
    pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}}
    stats = ContainerStats("c1", "main", {}, 1_000_000_000, 700, 1, writable_layer_bytes=33)
    return Measured(
        time=5.0, cpu_nanoseconds=0, memory_available=0, memory_total=1000, memory_rss=0, swap_used=0,
        disk=Disk(0, 0, 0, 0), image_systems=(), containers={"u1": [stats]}, pods={"u1": pod}, rates={}, boot_time=0.0,
    )  # fmt: skip


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(text)
    return {(item.name, frozenset(item.labels.items())): item.value for found in families for item in found.samples}


def test_cadvisor_tells_of_pods_containers_and_sandboxes(tmp_path: Path) -> None:
    folder = PATH.rpartition("/")[0]
    sandbox = {name.replace("/c1/", "/s1/"): text for name, text in VERSION_2.items() if "procs" not in name}
    pod = {name.replace("/c1/", "/"): text for name, text in VERSION_2.items() if "procs" not in name}
    mount = tree(tmp_path, {**VERSION_2, **sandbox, **pod})
    text = cadvisor.cadvisor_text(measured(), Cgroups(mount, 2), "", MACHINE)
    used = {
        tuple(dict(labels)[name] for name in ("container", "id", "image", "name", "namespace", "pod")): value
        for (name, labels), value in samples(text).items()
        if name == "container_memory_working_set_bytes"
    }
    assert used == {
        ("", folder, "", "", "default", "web"): 3800,
        ("main", PATH, IMAGE, "c1", "default", "web"): 3800,
        ("", f"{folder}/s1", "", "s1", "default", "web"): 3800,
    }
    known = facts(CADVISOR)
    for found in text_string_to_metric_families(text):
        name = found.name + ("_total" if found.type == "counter" and not found.name.endswith("_failcnt") else "")
        if name in known:
            kind, labels = known[name]
            assert found.type == kind, name
            assert all(frozenset(item.labels) == labels for item in found.samples), name
    shown = {name for name, _ in samples(text)}
    assert {"machine_cpu_cores", "container_fs_usage_bytes", "container_processes", "container_last_seen"} <= shown


def test_cadvisor_without_cgroups_repeats_what_the_runtime_says(tmp_path: Path) -> None:
    text = cadvisor.cadvisor_text(measured(), Cgroups(tmp_path, 2), "", MACHINE)
    found = {name: value for (name, labels), value in samples(text).items() if dict(labels).get("container") == "main"}
    assert found["container_cpu_usage_seconds_total"] == pytest.approx(7e-7)
    assert found["container_fs_usage_bytes"] == 33


def test_every_request_to_the_runtime_has_a_name() -> None:
    asked = {name for name in vars(Runtime) if not name.startswith("_")}
    assert asked - OPERATIONS.keys() == {"events"}
    assert len(set(OPERATIONS.values())) == len(OPERATIONS)


async def test_requests_to_the_runtime_are_counted() -> None:
    clock, metrics = FakeClock(), KubeletMetrics(CollectorRegistry(), NODE, 2)
    runtime = counted(FakeRuntime(clock, []), metrics, clock)
    await runtime.list_images()
    with pytest.raises(RuntimeFailure):
        await runtime.container_status("none")
    read = metrics.registry.get_sample_value
    for operation, errors in (("list_images", 0), ("container_status", 1)):
        labels = {"operation_type": operation}
        assert read("kubelet_runtime_operations_total", labels) == 1
        assert read("kubelet_runtime_operations_duration_seconds_count", labels) == 1
        assert read("kubelet_runtime_operations_errors_total", labels) == errors


@pytest.fixture
def kits(monkeypatch: pytest.MonkeyPatch) -> list[Kit]:
    """The kits of kubelets that are started from now on."""
    made: list[Kit] = []
    assemble = component._assemble

    async def remembered(*arguments: Any) -> Kit:
        made.append(await assemble(*arguments))
        return made[-1]

    monkeypatch.setattr(component, "_assemble", remembered)
    return made


async def test_the_life_of_a_pod_is_counted(kits: list[Kit], bench: Bench) -> None:
    await bench.stop()
    bench.start()
    bench.runtime.add_image(FakeImage("job:1", exits=3))
    spec = {"containers": [{"name": "main", "image": "job:1"}], "restartPolicy": "Never"}
    await bench.client.create(PODS, make_pod(**spec))
    await bench.until(lambda: bench.phase() == "Failed")
    read = kits[-1].metrics.registry.get_sample_value
    labels = {"container_type": "container", "exit_code": "3", "reason": "Error"}
    assert read("kubelet_terminated_containers_total", labels) == 1
    assert read("kubelet_pod_worker_start_duration_seconds_count") == 1
    assert read("kubelet_containers_per_pod_count_count") == 1
    assert (read("kubelet_pod_status_sync_duration_seconds_count") or 0) >= 1
    assert (read("kubelet_runtime_operations_total", {"operation_type": "run_podsandbox"}) or 0) == 1
    assert (read("kubelet_cgroup_manager_duration_seconds_count", {"operation_type": "create"}) or 0) == 1
    labels = {"present_locally": "true", "pull_policy": "ifnotpresent", "pull_required": "false"}
    assert read("kubelet_image_manager_ensure_image_requests_total", labels) == 1


async def test_a_static_pod_that_comes_back_is_counted(kits: list[Kit], bench: Bench) -> None:
    folder = bench.settings.root_dir.parent / "manifests"
    await bench.stop()
    bench.settings = replace(bench.settings, static_pod_dir=folder)
    bench.start()
    await bench.until(folder.is_dir)
    bench.runtime.add_image(FakeImage("stubborn:1", ignores_term=True))
    spec = {"containers": [{"name": "main", "image": "stubborn:1"}], "terminationGracePeriodSeconds": 300}
    text = json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "st"}, "spec": spec})
    (folder / "st.yaml").write_text(text)
    name = f"st-{NODE}"
    await bench.until(lambda: bench.is_ready(name), seconds=5)
    first = bench.container_id(name)
    read = kits[-1].metrics.registry.get_sample_value
    assert not read("kubelet_restarted_pods_total", {"static": "true"})
    (folder / "st.yaml").unlink()
    await bench.until(lambda: [call for call in bench.runtime.calls if call[0] == "stop_container"], seconds=30)
    (folder / "st.yaml").write_text(text)  # the first one still has its grace
    await bench.until(lambda: read("kubelet_restarted_pods_total", {"static": "true"}) == 1, seconds=600)
    await bench.until(lambda: bench.is_ready(name) and bench.container_id(name) != first, seconds=60)


async def test_the_start_of_a_pod_is_timed_without_images_and_init_containers(kits: list[Kit], bench: Bench) -> None:
    await bench.stop()
    bench.start()
    bench.runtime.add_image(FakeImage("init:1", exits=0))
    init = {"name": "init", "image": "init:1"}
    created = rfc3339(bench.clock.now() - 100)
    pod = make_pod(initContainers=[init])
    pod["metadata"]["creationTimestamp"] = created
    await bench.client.create(PODS, pod)
    await bench.until(bench.is_ready, seconds=30)
    read = kits[-1].metrics.registry.get_sample_value
    for name in ("sli", "total"):
        assert read(f"kubelet_pod_start_{name}_duration_seconds_count") == 1
    total = read("kubelet_pod_start_total_duration_seconds_sum") or 0
    assert (read("kubelet_pod_start_sli_duration_seconds_sum") or 0) <= total
