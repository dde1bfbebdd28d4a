"""sig-node conformance: commands, variables of the environment, expansion, downward API, ConfigMaps, Secrets."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cluster import IMAGE, NODE_IP, wait_until
from conformance_api import MERGE, Api, Refused
from conformance_pods import container, create, ended, events, execute, output, pod, ready

LIMITS = {"requests": {"cpu": "250m", "memory": "32Mi"}, "limits": {"cpu": "1250m", "memory": "64Mi"}}
ARGUMENTS = {
    "defaults": ({"stdin": True, "stdinOnce": True, "tty": True}, ""),
    "arguments": ({"args": ["/bin/echo", "args"]}, "args\n"),
    "command": ({"command": ["/bin/hostname"]}, "command\n"),
    "both": ({"command": ["/bin/echo", "both"], "args": ["of", "them"]}, "both of them\n"),
    "substituted-command": (
        {"command": ["sh", "-c", "echo '$(FOO)' '$$(FOO)' '$(NONE)'"], "env": [{"name": "FOO", "value": "foo-value"}]},
        "foo-value $(FOO) $(NONE)\n",
    ),
    "substituted-arguments": (
        {"command": ["/bin/echo"], "args": ["$(FOO)", "$$(FOO)"], "env": [{"name": "FOO", "value": "foo-value"}]},
        "foo-value $(FOO)\n",
    ),
}


def field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def resource(name: str, which: str, unit: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"resourceFieldRef": {"resource": which, "divisor": unit}}}


def resources() -> list[dict[str, Any]]:
    return [
        resource("CPU_LIMIT", "limits.cpu", "1m"), resource("MEMORY_LIMIT", "limits.memory", "1"),
        resource("CPU_REQUEST", "requests.cpu", "1m"), resource("MEMORY_REQUEST", "requests.memory", "1"),
    ]  # fmt: skip


def variables_pod() -> dict[str, Any]:
    fields = {
        "POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace", "POD_UID": "metadata.uid",
        "POD_IP": "status.podIP", "HOST_IP": "status.hostIP", "HOST_IPS": "status.hostIPs",
    }  # fmt: skip
    env = [
        *(field(name, path) for name, path in fields.items()), *resources(),
        {"name": "FOO", "value": "foo-value"}, {"name": "FOOBAR", "value": "$(FOO);;$(POD_NAME)"},
        {"name": "MAP", "valueFrom": {"configMapKeyRef": {"name": "data", "key": "data-1"}}},
        {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "data", "key": "data-1"}}},
        {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "none", "key": "data-1", "optional": True}}},
    ]  # fmt: skip
    from_ = [
        {"configMapRef": {"name": "data"}}, {"prefix": "p-", "configMapRef": {"name": "data"}},
        {"secretRef": {"name": "data"}}, {"prefix": "s_", "secretRef": {"name": "data"}},
    ]  # fmt: skip
    return pod(
        "variables",
        container("", command=["env"], env=env, envFrom=from_, resources=LIMITS),
        container("env", name="free", env=resources()),
    )


def subpath_pod(name: str, expression: str, annotation: str = "dir", script: str = "sleep 3600") -> dict[str, Any]:
    """A pod with a folder of a volume whose name is put together of variables."""
    mounts = [
        {"name": "work", "mountPath": "/sub", "subPathExpr": expression}, {"name": "work", "mountPath": "/whole"},
    ]  # fmt: skip
    env = [field("POD_NAME", "metadata.name"), field("ANNOTATION", "metadata.annotations['folder']")]
    return pod(
        name, container(script, env=env, volumeMounts=mounts), annotations={"folder": annotation},
        volumes=[{"name": "work", "emptyDir": {}}],
    )  # fmt: skip


@pytest.fixture(scope="module")
def pods(api: Api, ground: str) -> str:
    api("POST", f"{ground}/configmaps", {"metadata": {"name": "data"}, "data": {"data-1": "value-1", "data.2": "v2"}})
    api(
        "POST",
        f"{ground}/secrets",
        {"metadata": {"name": "data"}, "stringData": {"secret-1": "hidden", "data-1": "h1"}},
    )
    api("POST", f"{ground}/services", {"metadata": {"name": "foo-svc"}, "spec": {"ports": [{"port": 8765}]}})
    for name, (fields, _) in ARGUMENTS.items():
        one = {"name": "c", "image": IMAGE, "imagePullPolicy": "IfNotPresent", **fields}
        create(api, ground, [pod(name, one)])
    writes = "touch /sub/mine; test -e /whole/foo/sub-writes/mine && echo there"
    create(api, ground, [
        variables_pod(), subpath_pod("sub-writes", "foo/$(POD_NAME)", script=writes),
        subpath_pod("sub-absolute", "$(ANNOTATION)", "/tmp"), subpath_pod("sub-upwards", "$(ANNOTATION)", ".."),
        subpath_pod("sub-mended", "$(ANNOTATION)", "/wrong"), pod("services", container("env")),
    ])  # fmt: skip
    return ground


@pytest.mark.parametrize("name", [name for name in ARGUMENTS if name != "defaults"])
def test_commands_and_arguments(api: Api, pods: str, name: str) -> None:
    assert output(api, pods, name) == ARGUMENTS[name][1]


def test_the_images_command_is_the_default(api: Api, pods: str) -> None:
    """The image's command is a shell; it waits for its terminal."""
    ready(api, pods, "defaults")
    assert execute(api, pods, "defaults", "tr '\\0' ' ' < /proc/1/cmdline") == "/bin/sh "


def test_variables_of_every_source(api: Api, pods: str) -> None:
    found = dict(line.split("=", 1) for line in output(api, pods, "variables").splitlines() if "=" in line)
    meta = api("GET", f"{pods}/pods/variables")
    wanted = {
        "POD_NAME": "variables", "POD_NAMESPACE": pods.rsplit("/", 1)[1], "POD_UID": meta["metadata"]["uid"],
        "POD_IP": meta["status"]["podIP"], "HOST_IP": NODE_IP, "HOST_IPS": NODE_IP,
        "CPU_LIMIT": "1250", "CPU_REQUEST": "250", "MEMORY_LIMIT": str(64 << 20), "MEMORY_REQUEST": str(32 << 20),
        "FOO": "foo-value", "FOOBAR": "foo-value;;variables", "MAP": "value-1", "SECRET": "h1",
        "data.2": "v2", "p-data-1": "value-1", "p-data.2": "v2", "secret-1": "hidden", "s_secret-1": "hidden",
        "data-1": "h1",
    }  # fmt: skip
    assert {name: found.get(name) for name in wanted} == wanted
    assert "NONE" not in found


def test_limits_default_to_what_the_node_has(api: Api, pods: str) -> None:
    allocatable = api("GET", "/api/v1/nodes/node-1")["status"]["allocatable"]
    lines = output(api, pods, "variables", "free").splitlines()
    assert f"CPU_LIMIT={int(allocatable['cpu']) * 1000}" in lines
    assert f"MEMORY_LIMIT={int(allocatable['memory'].removesuffix('Ki')) * 1024}" in lines


def test_variables_of_services(api: Api, pods: str) -> None:
    address = api("GET", f"{pods}/services/foo-svc")["spec"]["clusterIP"]
    lines = set(output(api, pods, "services").splitlines())
    assert {
        f"FOO_SVC_SERVICE_HOST={address}", "FOO_SVC_SERVICE_PORT=8765", f"FOO_SVC_PORT=tcp://{address}:8765",
        f"FOO_SVC_PORT_8765_TCP=tcp://{address}:8765", "FOO_SVC_PORT_8765_TCP_PROTO=tcp",
        "FOO_SVC_PORT_8765_TCP_PORT=8765", f"FOO_SVC_PORT_8765_TCP_ADDR={address}",
    } <= lines  # fmt: skip


def test_subpaths_of_variables(api: Api, pods: str) -> None:
    assert output(api, pods, "sub-writes") == "there\n"
    for name in ("sub-absolute", "sub-upwards"):
        wait_until(f"{name} is refused", lambda name=name: "Failed" in events(api, pods, name))
        state = api("GET", f"{pods}/pods/{name}")["status"]["containerStatuses"][0]["state"]
        assert state["waiting"]["reason"] == "CreateContainerConfigError", state


def test_a_subpath_is_mended_by_an_annotation(api: Api, pods: str) -> None:
    wait_until("refused", lambda: "Failed" in events(api, pods, "sub-mended"))
    meta = {"metadata": {"annotations": {"folder": "right"}}}
    api("PATCH", f"{pods}/pods/sub-mended", meta, media_type=MERGE)
    ready(api, pods, "sub-mended")
    assert execute(api, pods, "sub-mended", "ls /whole") == "right\n"


@pytest.mark.parametrize("plural", ["configmaps", "secrets"])
def test_an_empty_key_is_refused(api: Api, core: str, plural: str) -> None:
    with pytest.raises(Refused, match="422"):
        api("POST", f"{core}/{plural}", {"metadata": {"name": "empty"}, "data": {"": "dmFsdWU="}})


@pytest.mark.parametrize("plural", ["configmaps", "secrets"])
def test_lifecycle_of_a_config_map_and_a_secret(api: Api, core: str, plural: str) -> None:
    value, path = base64.b64encode(b"value").decode(), f"{core}/{plural}/life"
    version = api("GET", f"{core}/{plural}")["metadata"]["resourceVersion"]
    with api.watch(f"{core}/{plural}", labelSelector="life=yes", resourceVersion=version) as following:
        api("POST", f"{core}/{plural}", {"metadata": {"name": "life", "labels": {"life": "yes"}}, "data": {"a": value}})
        assert following()[0] == "ADDED"
        api("PATCH", path, {"data": {"b": value}}, media_type=MERGE)
        assert following()[1]["data"] == {"a": value, "b": value}
        changed = api("GET", path)
        changed["data"] = {"c": value}
        assert api("PUT", path, changed)["data"] == {"c": value} == following()[1]["data"]
        group = f"/api/v1/{plural}?labelSelector=life%3Dyes"
        assert "life" in [item["metadata"]["name"] for item in api("GET", group)["items"]]
        api("DELETE", f"{core}/{plural}?labelSelector=life%3Dyes")
        assert following()[0] == "DELETED"
    assert api.gone(path)


def test_a_pod_that_fails_says_so(api: Api, core: str) -> None:
    create(api, core, [pod("fails", container("echo heard; exit 3"))])
    terminated = ended(api, core, "fails")["containerStatuses"][0]["state"]["terminated"]
    assert (terminated["reason"], terminated["exitCode"]) == ("Error", 3)
    api("DELETE", f"{core}/pods/fails")
    wait_until("the failed pod is gone", lambda: api.gone(f"{core}/pods/fails"))
