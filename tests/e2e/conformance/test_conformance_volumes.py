"""sig-storage conformance: volumes of ConfigMaps, Secrets, the downward API and projections, emptyDir, subPath."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cluster import wait_until
from conformance_api import MERGE, Api
from conformance_pods import container, create, execute, output, pod, ready

DATA = {"data-1": "value-1", "data-2": "value-2"}
ITEM = [{"key": "data-2", "path": "path/to/data-2"}]
LIMITS = {"requests": {"cpu": "250m", "memory": "32Mi"}, "limits": {"cpu": "1250m", "memory": "64Mi"}}
KINDS = ("configMap", "secret", "projected-configMap", "projected-secret")
SHOW = 'show() { for f in "$@"; do echo "$(cat $f) $(stat -Lc "%a %u:%g" $f)"; done; }; '


def source(kind: str, name: str, *, mode: int | None = None, **more: Any) -> dict[str, Any]:
    """A volume source of one of KINDS that shows the object ``name``."""
    inner = kind.removeprefix("projected-")
    modes = {} if mode is None else {"defaultMode": mode}
    if kind != inner:
        return {"projected": {"sources": [{inner: {"name": name, **more}}], **modes}}
    return {inner: {"secretName" if inner == "secret" else "name": name, **modes, **more}}


def mounted(**sources: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Volumes and their mounts at /NAME."""
    return (
        [{"name": name, **found} for name, found in sources.items()],
        [{"name": name, "mountPath": f"/{name}"} for name in sources],
    )


def key_pods(kind: str) -> list[dict[str, Any]]:
    """One pod as root, one as another user, one as another user with a group for volumes."""
    volumes, mounts = mounted(
        plain=source(kind, "data"), again=source(kind, "data"), mode=source(kind, "data", mode=0o400),
        item=source(kind, "data", items=ITEM),
        itemmode=source(kind, "data", items=[{**ITEM[0], "mode": 0o400}]),
    )  # fmt: skip
    script = SHOW + "show /plain/data-1 /again/data-1 /mode/data-1 /item/path/to/data-2 /itemmode/path/to/data-2"
    user_volumes, user_mounts = mounted(plain=source(kind, "data"), item=source(kind, "data", items=ITEM))
    group_volumes, group_mounts = mounted(mode=source(kind, "data", mode=0o440))
    name = kind.lower()
    return [
        pod(f"{name}-root", container(script, volumeMounts=mounts), volumes=volumes),
        pod(
            f"{name}-user", container(SHOW + "show /plain/data-1 /item/path/to/data-2", volumeMounts=user_mounts),
            volumes=user_volumes, securityContext={"runAsUser": 1000},
        ),
        pod(
            f"{name}-group", container(SHOW + "show /mode/data-1", volumeMounts=group_mounts),
            volumes=group_volumes, securityContext={"runAsUser": 1000, "fsGroup": 1001},
        ),
    ]  # fmt: skip


def downward_items() -> list[dict[str, Any]]:
    """What a volume of the downward API shows: fields of the pod, resources of its first and second container."""
    fields = ("name", "labels", "annotations")
    resources = ("limits.cpu", "limits.memory", "requests.cpu", "requests.memory")
    return [
        {"path": "mode", "fieldRef": {"fieldPath": "metadata.name"}, "mode": 0o400},
        *({"path": name, "fieldRef": {"fieldPath": f"metadata.{name}"}} for name in fields),
        *(
            {
                "path": f"{which}-{name}",
                "resourceFieldRef": {
                    "containerName": which,
                    "resource": name,
                    **({"divisor": "1m"} if "cpu" in name else {}),
                },
            }
            for which in ("c", "free")
            for name in resources
        ),
    ]


def downward_pod(name: str) -> dict[str, Any]:
    volumes, mounts = mounted(
        plain={"downwardAPI": {"items": downward_items(), "defaultMode": 0o440}},
        projected={"projected": {"sources": [{"downwardAPI": {"items": downward_items()}}], "defaultMode": 0o440}},
    )
    wait = "sleep 3600"
    return pod(
        name, container(wait, volumeMounts=mounts, resources=LIMITS), container(wait, name="free"),
        volumes=volumes, labels={"colour": "blue"}, annotations={"builder": "bar"},
    )  # fmt: skip


EMPTY = (
    "set -e; umask 0; for d in /disk /memory; do stat -c '%a' $d; for m in 644 666 777; do "
    "echo content > $d/f$m; chmod $m $d/f$m; echo $(cat $d/f$m) $(stat -c '%a %u' $d/f$m); done; done; "
    "grep -q ' /memory tmpfs ' /proc/mounts && echo tmpfs; grep -c ' /disk tmpfs ' /proc/mounts || true"
)


def empty_pod(name: str, **security: int) -> dict[str, Any]:
    volumes, mounts = mounted(disk={"emptyDir": {}}, memory={"emptyDir": {"medium": "Memory"}})
    return pod(name, container(EMPTY, volumeMounts=mounts), volumes=volumes, securityContext=security)


def shared_pod() -> dict[str, Any]:
    mounts = [{"name": "shared", "mountPath": "/shared"}]
    writer = "echo from-the-other > /shared/part; mv /shared/part /shared/file"
    reader = "until [ -e /shared/file ]; do sleep 0.1; done; cat /shared/file"
    return pod(
        "shared", container(reader, volumeMounts=mounts), container(writer, name="writer", volumeMounts=mounts),
        volumes=[{"name": "shared", "emptyDir": {}}],
    )  # fmt: skip


def combined_pod() -> dict[str, Any]:
    parts = [
        {"secret": {"name": "data", "items": [{"key": "data-1", "path": "secret"}]}},
        {"configMap": {"name": "data", "items": [{"key": "data-2", "path": "map"}]}},
        {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    ]
    volumes, mounts = mounted(all={"projected": {"sources": parts}})
    return pod("combined", container("cat /all/secret /all/map /all/name", volumeMounts=mounts), volumes=volumes)


def subpath_pod() -> dict[str, Any]:
    """Single files of volumes, one of them in the place of a file that the image has."""
    volumes, _ = mounted(
        map=source("configMap", "data"), secret=source("secret", "data"),
        both=source("projected-configMap", "data", items=ITEM),
        down={"downwardAPI": {"items": [{"path": "in/name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    )  # fmt: skip
    mounts = [
        {"name": "map", "mountPath": "/m", "subPath": "data-1"},
        {"name": "map", "mountPath": "/etc/group", "subPath": "data-2"},
        {"name": "secret", "mountPath": "/s", "subPath": "data-1"},
        {"name": "both", "mountPath": "/p", "subPath": "path/to"},
        {"name": "down", "mountPath": "/d", "subPath": "in/name"},
    ]
    script = "for f in /m /etc/group /s /p/data-2 /d; do test -e $f && echo $(cat $f); done"
    return pod("subpath", container(script, volumeMounts=mounts), volumes=volumes)


def wrapped_pods() -> list[dict[str, Any]]:
    """Three pods with fifty volumes of ConfigMaps each, and one whose volumes lie in each other."""
    many, mounts = mounted(**{f"v{n}": source("configMap", f"many-{n}") for n in range(50)})
    script = "for n in $(seq 0 49); do cat /v$n/n; done | md5sum; seq 0 49 | tr -d '\\n' | md5sum"
    nested, _ = mounted(outer={"emptyDir": {}}, map=source("configMap", "data"), secret=source("secret", "data"))
    inner = [
        {"name": "outer", "mountPath": "/o"}, {"name": "map", "mountPath": "/o/map"},
        {"name": "secret", "mountPath": "/o/secret"},
    ]  # fmt: skip
    return [
        *(pod(f"many-{n}", container(script, volumeMounts=mounts), volumes=many) for n in range(3)),
        pod("nested", container("cat /o/map/data-1 /o/secret/data-2", volumeMounts=inner), volumes=nested),
    ]


def changing_pod() -> dict[str, Any]:
    sources = {}
    for kind in KINDS:
        name = kind.lower()
        sources[name] = source(kind, "changing")
        sources[f"{name}-delete"] = source(kind, "to-delete", optional=True)
        sources[f"{name}-create"] = source(kind, "to-create", optional=True)
    volumes, mounts = mounted(**sources)
    return pod("changing", container("sleep 3600", volumeMounts=mounts), volumes=volumes)


def secret(name: str, data: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": name}, "stringData": data}


@pytest.fixture(scope="module")
def pods(api: Api, ground: str) -> str:
    """Starts all pods of this file; the namespace's path."""
    binary = base64.b64encode(b"\xfe\xca\x00\xff").decode()
    for name, data in (("data", DATA), ("changing", {"key": "one"}), ("to-delete", {"key": "one"})):
        api("POST", f"{ground}/configmaps", {"metadata": {"name": name}, "data": data, "binaryData": {"raw": binary}})
        api("POST", f"{ground}/secrets", secret(name, data))
    for number in range(50):
        api("POST", f"{ground}/configmaps", {"metadata": {"name": f"many-{number}"}, "data": {"n": str(number)}})
    create(api, ground, [changing_pod(), downward_pod("downward")])
    for kind in KINDS:
        create(api, ground, key_pods(kind))
    create(api, ground, [empty_pod("empty-root"), empty_pod("empty-user", runAsUser=1001), shared_pod()])
    create(api, ground, [combined_pod(), subpath_pod(), *wrapped_pods()])
    return ground


@pytest.mark.parametrize("kind", KINDS)
def test_keys_are_files_with_the_modes_and_paths_that_are_asked_for(api: Api, pods: str, kind: str) -> None:
    name = kind.lower()
    assert output(api, pods, f"{name}-root").splitlines() == [
        "value-1 644 0:0", "value-1 644 0:0", "value-1 400 0:0", "value-2 644 0:0", "value-2 400 0:0",
    ]  # fmt: skip
    assert output(api, pods, f"{name}-user").splitlines() == ["value-1 644 0:0", "value-2 644 0:0"]
    assert output(api, pods, f"{name}-group").splitlines() == ["value-1 440 0:1001"]


@pytest.mark.parametrize("user", ["root", "user"])
def test_empty_dirs_on_disk_and_in_memory(api: Api, pods: str, user: str) -> None:
    number = {"root": 0, "user": 1001}[user]
    files = [f"content {mode} {number}" for mode in (644, 666, 777)]
    assert output(api, pods, f"empty-{user}").splitlines() == ["777", *files, "777", *files, "tmpfs", "0"]


def test_containers_share_an_empty_dir(api: Api, pods: str) -> None:
    assert output(api, pods, "shared") == "from-the-other\n"


def test_a_projection_of_everything(api: Api, pods: str) -> None:
    assert output(api, pods, "combined") == "value-1value-2combined"


def test_subpaths_of_volumes_that_are_replaced_as_a_whole(api: Api, pods: str) -> None:
    assert output(api, pods, "subpath").split() == ["value-1", "value-2", "value-1", "value-2", "subpath"]


def test_many_volumes_and_volumes_in_each_other(api: Api, pods: str) -> None:
    for number in range(3):
        found, wanted = output(api, pods, f"many-{number}").splitlines()
        assert found == wanted
    assert output(api, pods, "nested") == "value-1value-2"


def test_the_downward_api_as_files(api: Api, pods: str) -> None:
    ready(api, pods, "downward")
    allocatable = api("GET", "/api/v1/nodes/node-1")["status"]["allocatable"]
    cpu, memory = int(allocatable["cpu"]) * 1000, int(allocatable["memory"].removesuffix("Ki")) * 1024
    wanted = {
        "name": "downward", "mode": "downward", "c-limits.cpu": "1250", "c-requests.cpu": "250",
        "c-limits.memory": str(64 << 20), "c-requests.memory": str(32 << 20),
        "free-limits.cpu": str(cpu), "free-limits.memory": str(memory),
        "free-requests.cpu": "0", "free-requests.memory": "0",
    }  # fmt: skip
    for folder in ("plain", "projected"):
        text = execute(api, pods, "downward", f"cd /{folder}; for f in *; do echo $f=$(cat $f); done")
        found = dict(line.split("=", 1) for line in text.splitlines())
        assert {key: found[key] for key in wanted} == wanted
        modes = execute(api, pods, "downward", f"stat -Lc %a /{folder}/name /{folder}/mode")
        assert modes.split() == ["440", "400"]


def test_labels_and_annotations_follow_the_pod(api: Api, pods: str) -> None:
    ready(api, pods, "downward")
    labels, annotations = {"colour": "red"}, {"builder": "foo"}
    api(
        "PATCH", f"{pods}/pods/downward", {"metadata": {"labels": labels, "annotations": annotations}}, media_type=MERGE
    )

    def follows() -> bool:
        text = execute(
            api, pods, "downward", "cat /plain/labels /plain/annotations /projected/labels /projected/annotations"
        )
        return text.count('colour="red"') == 2 and text.count('builder="foo"') == 2

    wait_until("changed labels and annotations", follows, seconds=120)


def test_changes_reach_volumes(api: Api, pods: str) -> None:
    """Changed, deleted and created ConfigMaps and Secrets, optional ones too, text and bytes."""
    ready(api, pods, "changing")
    before = execute(api, pods, "changing", "cat /*/key; od -An -tx1 /configmap/raw")
    assert before.replace(" ", "") == "one" * 8 + "feca00ff\n"
    for plural in ("configmaps", "secrets"):
        api(
            "PATCH", f"{pods}/{plural}/changing", {"data": {"key": base64.b64encode(b"two").decode()}}, media_type=MERGE
        )
        api("DELETE", f"{pods}/{plural}/to-delete")
        made = {"metadata": {"name": "to-create"}, "data": {"key": base64.b64encode(b"new").decode()}}
        api("POST", f"{pods}/{plural}", made)
    script = (
        "for d in /configmap /secret /projected-*p /projected-*t; do cat $d/key $d-create/key; ls $d-delete; echo; done"
    )
    plain, coded = (base64.b64encode(word).decode() for word in (b"two", b"new"))
    wanted = [plain + coded, "twonew"] * 2
    wait_until(
        "changes in the pod", lambda: execute(api, pods, "changing", script).split() == wanted, seconds=120, every=0.5
    )


def test_a_secret_of_the_same_name_elsewhere_is_another(api: Api, pods: str, core: str) -> None:
    api("POST", f"{core}/secrets", secret("data", {"data-1": "elsewhere"}))
    volumes, mounts = mounted(s=source("secret", "data"))
    create(api, core, [pod("same-name", container("cat /s/data-1", volumeMounts=mounts), volumes=volumes)])
    assert output(api, core, "same-name") == "elsewhere"


@pytest.mark.parametrize("plural", ["configmaps", "secrets"])
def test_what_is_immutable_stays(api: Api, core: str, plural: str) -> None:
    path, data = f"{core}/{plural}/fixed", {"key": base64.b64encode(b"one").decode()}
    api("POST", f"{core}/{plural}", {"metadata": {"name": "fixed"}, "data": data})
    api("PATCH", path, {"data": {"more": "YQ=="}}, media_type=MERGE)
    api("PATCH", path, {"immutable": True}, media_type=MERGE)
    for change in ({"data": {"more": "Yg=="}}, {"immutable": False}, {"immutable": None}):
        assert api.exchange("PATCH", path, change, media_type=MERGE)[0] == 422
    assert (
        api("PATCH", path, {"metadata": {"labels": {"still": "changes"}}}, media_type=MERGE)["data"]["more"] == "YQ=="
    )
    api("DELETE", path)
