"""The pure and small parts: environment, names, DNS, resources, status patches, volumes on disk, stages."""

from __future__ import annotations

import base64
from pathlib import Path

import orjson
import pytest
from kubelet_bench import IMAGE, make_pod

from minikube_py.client.testing import FakeClock
from minikube_py.components.kubelet.gotext import go_duration, rpc_text
from minikube_py.components.kubelet.node.eviction import find_shortages, rank
from minikube_py.components.kubelet.node.node_object import parse_taint
from minikube_py.components.kubelet.pods.backoff import Backoff
from minikube_py.components.kubelet.pods.cgroups import Cgroups
from minikube_py.components.kubelet.pods.credentials import credentials_for, split_image
from minikube_py.components.kubelet.pods.dns import ClusterDns, dns_config, hosts_file, sandbox_hostname
from minikube_py.components.kubelet.pods.env import ConfigProblem, EnvSources, environment
from minikube_py.components.kubelet.pods.expansion import expand
from minikube_py.components.kubelet.pods.fields import FieldProblem, NodeFacts, field_value
from minikube_py.components.kubelet.pods.images import with_default_tag
from minikube_py.components.kubelet.pods.lifecycle import IllegalMove, Stage, advance
from minikube_py.components.kubelet.pods.resources import (
    container_resources,
    milli_to_shares,
    oom_score_adjust,
    pod_cgroup,
)
from minikube_py.components.kubelet.pods.security import container_security
from minikube_py.components.kubelet.pods.status import phase
from minikube_py.components.kubelet.pods.status_writer import status_patch
from minikube_py.components.kubelet.runtime.types import Image
from minikube_py.components.kubelet.volumes.atomic import BadPath, File, write_payload
from minikube_py.machinery.objects import Object

NODE = NodeFacts("node-1", ("192.0.2.10",), {"cpu": "4", "memory": "8Gi"})


@pytest.mark.parametrize(
    ("text", "result"),
    [
        pytest.param("$(A)-x", "1-x", id="known name"),
        pytest.param("$(B)", "$(B)", id="unknown name stays"),
        pytest.param("$$(A)", "$(A)", id="escaped"),
        pytest.param("$(A", "$(A", id="unfinished"),
        pytest.param("cost $5 $", "cost $5 $", id="lone dollars"),
    ],
)
def test_expand(text: str, result: str) -> None:
    assert expand(text, {"A": "1"}) == result


def sources(objects: dict[tuple[str, str], Object], services: list[Object] | None = None) -> EnvSources:
    async def lookup(kind: str, namespace: str, name: str) -> Object | None:
        return objects.get((kind, name))

    return EnvSources(lookup, services or [], NODE, ("10.0.0.7",), lambda name: None)


async def test_environment_in_the_order_of_kubernetes() -> None:
    secret = {"kind": "Secret", "metadata": {"name": "s", "namespace": "default"}, "data": {"PASS": "cHc="}}
    config = {"kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}, "data": {"A": "from-map"}}
    service = {
        "metadata": {"name": "my-db", "namespace": "default"},
        "spec": {"clusterIP": "10.43.0.9", "ports": [{"port": 5432, "name": "sql"}]},
    }
    container = {
        "name": "main",
        "envFrom": [{"configMapRef": {"name": "c"}, "prefix": "X_"}],
        "env": [
            {"name": "B", "value": "$(X_A)/$(MY_DB_SERVICE_HOST)"},
            {"name": "P", "valueFrom": {"secretKeyRef": {"name": "s", "key": "PASS"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "no", "key": "k", "optional": True}}},
        ],
    }
    pod = make_pod(containers=[container])
    found = await environment(pod, container, sources({("secret", "s"): secret, ("configmap", "c"): config}, [service]))
    assert found["B"] == "from-map/10.43.0.9"
    assert (found["P"], found["IP"], found["CPU"]) == ("pw", "10.0.0.7", "4")
    assert found["MY_DB_SERVICE_PORT_SQL"] == "5432" and found["MY_DB_PORT_5432_TCP_ADDR"] == "10.43.0.9"
    assert "NONE" not in found


async def test_missing_key_is_told_in_the_words_of_kubernetes() -> None:
    config = {"kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}, "data": {}}
    container = {"name": "m", "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}]}
    with pytest.raises(ConfigProblem, match="couldn't find key k in ConfigMap default/c"):
        await environment(make_pod(), container, sources({("configmap", "c"): config}))


def test_field_values() -> None:
    pod = make_pod()
    pod["metadata"]["labels"] = {"b": "2", "a": 'x"y'}
    assert field_value(pod, "metadata.labels", node=NODE) == 'a="x\\"y"\nb="2"'
    assert field_value(pod, "metadata.labels['b']", node=NODE) == "2"
    with pytest.raises(FieldProblem):
        field_value(pod, "spec.nothing", node=NODE)


CLUSTER = ClusterDns(("10.43.0.10",), "cluster.local", Path("/etc/resolv.conf"))
HOST = "nameserver 192.0.2.1\nsearch example.org\noptions timeout:1\n"


@pytest.mark.parametrize(
    ("spec", "servers", "searches", "options"),
    [
        pytest.param(
            {},
            ("10.43.0.10",),
            ("default.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.org"),
            ("ndots:5",),
            id="cluster first",
        ),
        pytest.param({"dnsPolicy": "Default"}, ("192.0.2.1",), ("example.org",), ("timeout:1",), id="default"),
        pytest.param({"hostNetwork": True}, ("192.0.2.1",), ("example.org",), ("timeout:1",), id="host network"),
        pytest.param(
            {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "options": [{"name": "edns0"}]}},
            ("1.1.1.1",),
            (),
            ("edns0",),
            id="none",
        ),
        pytest.param(
            {"dnsConfig": {"options": [{"name": "ndots", "value": "2"}]}},
            ("10.43.0.10",),
            ("default.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.org"),
            ("ndots:2",),
            id="own options win",
        ),
    ],
)
def test_dns(spec: Object, servers: tuple[str, ...], searches: tuple[str, ...], options: tuple[str, ...]) -> None:
    found = dns_config(make_pod(**spec), CLUSTER, HOST)
    assert (found.servers, found.searches, found.options) == (servers, searches, options)


def test_hosts_file_and_full_name() -> None:
    pod = make_pod(
        hostname="h", subdomain="sub", setHostnameAsFQDN=True, hostAliases=[{"ip": "1.2.3.4", "hostnames": ["x", "y"]}]
    )
    text = hosts_file(pod, ["10.0.0.7"], "cluster.local", None)
    assert "10.0.0.7\th.sub.default.svc.cluster.local\th\n" in text
    assert text.endswith("# Entries added by HostAliases.\n1.2.3.4\tx\ty\n")
    assert sandbox_hostname(pod, "cluster.local") == "h.sub.default.svc.cluster.local"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0s"), (0.523, "523ms"), (1.5, "1.5s"), (80, "1m20s"), (3605, "1h0m5s"), (10, "10s")]
)
def test_go_duration(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


def test_rpc_text() -> None:
    assert rpc_text("NOT_FOUND", "x") == "rpc error: code = NotFound desc = x"


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("busybox", "busybox:latest"),
        ("busybox:1", "busybox:1"),
        ("reg:5000/a/b", "reg:5000/a/b:latest"),
        ("a@sha256:" + "0" * 64, "a@sha256:" + "0" * 64),
    ],
)
def test_image_names(image: str, full: str) -> None:
    assert with_default_tag(image) == full


@pytest.mark.parametrize("image", ["UPPER", "a b", "", "x/:tag"])
def test_bad_image_names(image: str) -> None:
    with pytest.raises(ValueError, match="invalid reference format"):
        with_default_tag(image)


def test_credentials_match_registry_and_path() -> None:
    hub = base64.b64encode(b"hub:secret").decode()
    config = orjson.dumps(
        {
            "auths": {
                "reg.example.org/team": {"username": "u", "password": "p"},
                "https://index.docker.io/v1/": {"auth": hub},
            }
        }
    )
    secret = {"data": {".dockerconfigjson": base64.b64encode(config).decode()}}
    assert [item.username for item in credentials_for("reg.example.org/team/app:1", [secret])] == ["u"]
    assert [item.password for item in credentials_for("busybox", [secret])] == ["secret"]
    assert credentials_for("reg.example.org/other:1", [secret]) == []
    assert split_image("busybox") == ("index.docker.io", "library/busybox")


def test_resources_and_oom_scores() -> None:
    main = {
        "name": "main",
        "image": IMAGE,
        "resources": {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}},
    }
    pod = make_pod(containers=[main])
    found = container_resources(pod, main, memory_capacity=10 * 2**30, cfs_quota=True)
    assert (found.cpu_shares, found.cpu_quota, found.memory_limit_bytes) == (256, 100000, 2 * 2**30)
    assert found.oom_score_adj == 900
    assert oom_score_adjust(make_pod(), make_pod()["spec"]["containers"][0], 1) == 1000
    group = pod_cgroup(pod, "u1")
    assert (group.path, group.cpu_shares, group.memory_bytes) == ("/kubepods/burstable/podu1", 256, 2 * 2**30)
    assert milli_to_shares(0) == 2


def test_cgroups_v1_tree(tmp_path: Path) -> None:
    for name in ("cpu", "memory"):
        (tmp_path / name).mkdir()
    cgroups = Cgroups(tmp_path, 1)
    cgroups.ensure_tree("/t")
    cgroups.ensure_pod(pod_cgroup(make_pod(), "u1", "/t"))
    assert (tmp_path / "cpu/t/kubepods/besteffort/podu1/cpu.shares").read_text() == "2"
    assert cgroups.pod_uids("/t") == {"u1"}


@pytest.mark.parametrize(
    ("context", "image", "text"),
    [
        pytest.param({"runAsNonRoot": True, "runAsUser": 0}, Image("i"), "runAsUser breaks", id="explicit root"),
        pytest.param({"runAsNonRoot": True}, Image("i", uid=0), "image will run as root", id="image's root"),
        pytest.param({"runAsNonRoot": True}, Image("i", username="app"), "non-numeric user", id="name of a user"),
    ],
)
def test_non_root_is_verified(context: Object, image: Image, text: str) -> None:
    container = {"name": "main", "securityContext": context}
    with pytest.raises(ConfigProblem, match=text):
        container_security(make_pod(containers=[container]), container, image)


def test_backoff_doubles_and_is_forgotten() -> None:
    clock = FakeClock()
    backoff = Backoff(clock)
    assert backoff.remaining("k", clock.now()) == 0
    for wanted in (10, 20, 40, 80, 160, 300, 300):
        backoff.advance("k", clock.now())
        assert backoff.current("k") == wanted
    clock.jump(601)
    assert backoff.remaining("k", clock.now()) == 0
    backoff.advance("k", clock.now())
    assert backoff.current("k") == 10


def test_status_patch_says_only_what_changed() -> None:
    old = {
        "phase": "Pending",
        "podIPs": [{"ip": "1.1.1.1"}],
        "conditions": [{"type": "Ready", "status": "False", "reason": "X"}, {"type": "Other", "status": "True"}],
    }
    new = {"phase": "Running", "podIPs": [{"ip": "2.2.2.2"}], "conditions": [{"type": "Ready", "status": "True"}]}
    assert status_patch(old, new) == {
        "phase": "Running",
        "podIPs": [{"$patch": "replace"}, {"ip": "2.2.2.2"}],
        "conditions": [{"type": "Ready", "status": "True", "reason": None}],
    }
    assert status_patch(new, new) == {}


@pytest.mark.parametrize(
    ("policy", "states", "ending", "wanted"),
    [
        pytest.param("Always", [{"waiting": {}}], False, "Pending", id="waiting"),
        pytest.param("Always", [{"running": {}}, {"terminated": {"exitCode": 1}}], False, "Running", id="one runs"),
        pytest.param("Always", [{"terminated": {"exitCode": 0}}], False, "Running", id="will be restarted"),
        pytest.param("Always", [{"terminated": {"exitCode": 0}}], True, "Succeeded", id="ended well while ending"),
        pytest.param("Never", [{"terminated": {"exitCode": 1}}], False, "Failed", id="failed"),
        pytest.param("OnFailure", [{"terminated": {"exitCode": 1}}], False, "Running", id="retried"),
    ],
)
def test_phase(policy: str, states: list[Object], ending: bool, wanted: str) -> None:
    names = [f"c{index}" for index in range(len(states))]
    pod = make_pod(restartPolicy=policy, containers=[{"name": name} for name in names])
    status = {"containerStatuses": [{"name": n, "state": s} for n, s in zip(names, states, strict=True)]}
    assert phase(pod, status, ending=ending) == wanted


def test_atomic_writer_swaps_all_at_once(tmp_path: Path) -> None:
    assert write_payload(tmp_path, {"a": File(b"1"), "d/b": File(b"2", 0o600)})
    before = (tmp_path / "..data").readlink()
    assert not write_payload(tmp_path, {"a": File(b"1"), "d/b": File(b"2", 0o600)})
    assert write_payload(tmp_path, {"a": File(b"9")})
    assert (tmp_path / "a").read_text() == "9" and not (tmp_path / "d").exists()
    assert (tmp_path / "..data").readlink() != before and not (tmp_path / before).exists()
    assert sorted(name for name in (item.name for item in tmp_path.iterdir()) if not name.startswith("..2")) == [
        "..data",
        "a",
    ]


@pytest.mark.parametrize("path", ["/abs", "../up", "a/../../b", "..data"])
def test_atomic_writer_refuses_to_leave(tmp_path: Path, path: str) -> None:
    with pytest.raises(BadPath):
        write_payload(tmp_path, {path: File(b"")})


def test_stages_go_one_way() -> None:
    assert advance(Stage.SYNC, Stage.TERMINATING) is Stage.TERMINATING
    with pytest.raises(IllegalMove):
        advance(Stage.TERMINATED, Stage.SYNC)


def test_eviction_ranks_the_greedy_first() -> None:
    small, greedy, vital = (make_pod(name) for name in ("small", "greedy", "vital"))
    vital["spec"]["priority"] = 1000
    order = rank([vital, small, greedy], {"uid-small": 10, "uid-greedy": 100, "uid-vital": 500})
    assert [pod["metadata"]["name"] for pod in order] == ["greedy", "small", "vital"]
    short = find_shortages(memory_available=1, memory_threshold=2, disk_total=100, disk_free=50, disk_percent=10)
    assert [item.signal for item in short] == ["memory.available"]


def test_taints() -> None:
    assert parse_taint("a=b:NoSchedule") == {"key": "a", "value": "b", "effect": "NoSchedule"}
    with pytest.raises(ValueError, match="invalid taint"):
        parse_taint("a=b")
