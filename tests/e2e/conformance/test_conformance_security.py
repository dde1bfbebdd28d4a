"""sig-node conformance: security contexts, sysctls, RuntimeClasses, /etc/hosts."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from conformance_api import Api, Refused
from conformance_pods import container, create, ended, execute, output, pod, ready

NODE_API = "/apis/node.k8s.io/v1/runtimeclasses"
CAPABILITIES = "grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr -s '\\t ' ' '; id -u; id -g"
SYSCTL = "kernel.shm_rmid_forced"
KUBELETS_HOSTS = "# Kubernetes-managed hosts file."
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "user": ({"runAsUser": 65534}, {}, "id -u"),
    "user-and-group": ({"runAsUser": 1001, "runAsGroup": 2002}, {}, "id -u; id -g"),
    "pod-user-and-group": ({}, {"runAsUser": 1001, "runAsGroup": 2002}, "id -u; id -g"),
    "read-only": ({"readOnlyRootFilesystem": True}, {}, "echo x > /file || echo refused"),
    "writable": ({"readOnlyRootFilesystem": False}, {}, "echo written > /file; cat /file"),
    "unprivileged": ({"privileged": False}, {}, "mount -t tmpfs none /tmp 2>/dev/null || echo refused"),
    "privileged": ({"privileged": True}, {}, "mount -t tmpfs none /tmp && echo done"),
    "no-escalation": ({"allowPrivilegeEscalation": False, "runAsUser": 1000}, {}, CAPABILITIES),
    "capabilities": ({"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}, {}, CAPABILITIES),
    "seccomp": ({"seccompProfile": {"type": "RuntimeDefault"}}, {}, "grep Seccomp: /proc/self/status | cut -f2"),
    "groups": ({}, {"runAsUser": 1000, "fsGroup": 3000, "supplementalGroups": [4000]}, "id -G"),
    "sysctls": (
        {},
        {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]},
        "sysctl -n kernel.shm_rmid_forced",
    ),
}
WANTED = {
    "user": "65534\n", "user-and-group": "1001\n2002\n", "pod-user-and-group": "1001\n2002\n",
    "writable": "written\n", "unprivileged": "refused\n", "privileged": "done\n",
    "capabilities": "CapBnd: 0000000000000400", "no-escalation": "NoNewPrivs: 1", "seccomp": "2\n",
    "groups": "0 3000 4000\n", "sysctls": "1\n", "read-only": "refused\n",
}  # fmt: skip


def hosts_pod(name: str, **spec: Any) -> dict[str, Any]:
    """A container whose hosts file the kubelet writes, and one that brings its own."""
    mounts = [{"name": "own", "mountPath": "/etc/hosts", "subPath": "hosts"}]
    writes = {"name": "own", "mountPath": "/own"}
    return pod(
        name, container("sleep 3600"), container("sleep 3600", name="own", volumeMounts=mounts),
        initContainers=[container("echo 10.1.1.1 mine > /own/hosts", name="make", volumeMounts=[writes])],
        volumes=[{"name": "own", "emptyDir": {}}], **spec,
    )  # fmt: skip


@pytest.fixture(scope="module")
def pods(api: Api, ground: str) -> str:
    for name, (own, whole, script) in CASES.items():
        create(api, ground, [pod(name, container(script, securityContext=own), securityContext=whole)])
    aliases = [{"ip": "123.45.67.89", "hostnames": ["foo.local", "bar.local"]}]
    create(api, ground, [hosts_pod("hosts", hostAliases=aliases), hosts_pod("host-network", hostNetwork=True)])
    return ground


@pytest.mark.parametrize("name", CASES)
def test_security_contexts(api: Api, pods: str, name: str) -> None:
    assert WANTED[name] in output(api, pods, name)


def test_the_hosts_file_is_the_kubelets_unless_the_pod_brings_one(api: Api, pods: str) -> None:
    ready(api, pods, "hosts", "host-network")
    text = execute(api, pods, "hosts", "cat /etc/hosts")
    address = api("GET", f"{pods}/pods/hosts")["status"]["podIP"]
    assert text.startswith(KUBELETS_HOSTS) and f"{address}\thosts\n" in text
    assert "123.45.67.89\tfoo.local\tbar.local\n" in text
    assert execute(api, pods, "hosts", "cat /etc/hosts", "own") == "10.1.1.1 mine\n"
    assert KUBELETS_HOSTS not in execute(api, pods, "host-network", "cat /etc/hosts")
    assert execute(api, pods, "host-network", "cat /etc/hosts", "own") == "10.1.1.1 mine\n"


def test_sysctls_that_are_none_or_unsafe(api: Api, core: str) -> None:
    bad = [{"name": name, "value": "1"} for name in ("foo-", "kernel.shmmax", "safe-and-unsafe", "bar..")]
    with pytest.raises(Refused, match="422") as found:
        create(api, core, [pod("bad", container("true"), securityContext={"sysctls": bad})])
    assert "foo-" in str(found.value) and "bar.." in str(found.value) and "kernel.shmmax" not in str(found.value)
    unsafe = [{"name": "kernel.msgmax", "value": "10000000000"}]
    create(api, core, [pod("unsafe", container("true"), securityContext={"sysctls": unsafe})])
    assert ended(api, core, "unsafe")["reason"] == "SysctlForbidden"


@pytest.fixture
def runtime_class(api: Api) -> Iterator[str]:
    name = f"class-{secrets.token_hex(3)}"
    body = {"metadata": {"name": name}, "handler": "runc"}
    api("POST", NODE_API, {**body, "overhead": {"podFixed": {"cpu": "10m", "memory": "1Mi"}}})
    yield name
    api.exchange("DELETE", f"{NODE_API}/{name}")


def test_runtime_classes_give_handler_and_overhead(api: Api, core: str, runtime_class: str) -> None:
    create(api, core, [pod("overhead", container("true"), runtimeClassName=runtime_class)])
    assert api("GET", f"{core}/pods/overhead")["spec"]["overhead"] == {"cpu": "10m", "memory": "1Mi"}
    output(api, core, "overhead")
    plain = f"{runtime_class}-plain"
    api("POST", NODE_API, {"metadata": {"name": plain}, "handler": "runc"})
    create(api, core, [pod("plain", container("true"), runtimeClassName=plain)])
    assert "overhead" not in api("GET", f"{core}/pods/plain")["spec"]
    output(api, core, "plain")
    api("DELETE", f"{NODE_API}/{plain}")
    for name in (plain, "never-was"):
        with pytest.raises(Refused, match="403"):
            create(api, core, [pod("none", container("true"), runtimeClassName=name)])
