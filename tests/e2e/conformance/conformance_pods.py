"""Pods of conformance tests: short specs, many at once, what they wrote and how they ended."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from cluster import IMAGE, wait_until
from conformance_api import Api

START_SECONDS = 120
"""How long pods may take to start or to end: files start all of theirs at once."""


def container(script: str, name: str = "c", **more: Any) -> dict[str, Any]:
    """A container that runs a script of the shell; other fields as given."""
    return {"name": name, "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script], **more}


def pod(name: str, *containers: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    """A pod that is not started again; labels, annotations and fields of the spec as given."""
    meta = {"name": name, "labels": {"app": name, **spec.pop("labels", {})}}
    meta |= {"annotations": spec.pop("annotations")} if "annotations" in spec else {}
    return {
        "metadata": meta,
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [*containers], **spec},
    }


def python_container(source: str, *arguments: str, **more: Any) -> dict[str, Any]:
    """A container with this machine's Python, for servers that busybox has not; needs ``python_volumes``."""
    mounts = [{"name": name, "mountPath": path, "readOnly": True} for name, path in _python_folders()]
    return {
        "name": "c", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "volumeMounts": mounts,
        "command": [f"{sys.prefix}/bin/python", "-u", "-c", source, *arguments], **more,
    }  # fmt: skip


def python_volumes() -> list[dict[str, Any]]:
    return [{"name": name, "hostPath": {"path": path}} for name, path in _python_folders()]


def _python_folders() -> list[tuple[str, str]]:
    folders = dict.fromkeys((sys.prefix, sys.base_prefix, "/usr/lib", "/lib", "/lib64", "/usr/lib64"))
    if sys.base_prefix == "/usr":
        folders = dict.fromkeys((sys.prefix, "/usr", "/lib", "/lib64"))
    return [(f"host-{number}", path) for number, path in enumerate(folders)]


def create(api: Api, core: str, pods: Iterable[Mapping[str, Any]]) -> None:
    for one in pods:
        api("POST", f"{core}/pods", one)


def status(api: Api, core: str, name: str) -> dict[str, Any]:
    return dict(api("GET", f"{core}/pods/{name}")["status"])


def log(api: Api, core: str, name: str, container: str = "c") -> str:
    code, _, data = api.exchange("GET", f"{core}/pods/{name}/log?container={container}")
    assert code == 200, f"log of {name}: {code} {data!r}"
    return data.decode()


def ended(api: Api, core: str, name: str) -> dict[str, Any]:
    """The pod's status after its end."""

    def probe() -> dict[str, Any] | None:
        found = status(api, core, name)
        return found if found.get("phase") in ("Succeeded", "Failed") else None

    return dict(wait_until(f"end of {name}", probe, seconds=START_SECONDS))


def output(api: Api, core: str, name: str, container: str = "c") -> str:
    """What a pod wrote that must have ended well."""
    found = ended(api, core, name)
    text = log(api, core, name, container)
    assert found["phase"] == "Succeeded", f"{name}: {found} {text}"
    return text


def is_ready(api: Api, core: str, name: str) -> bool:
    conditions = status(api, core, name).get("conditions") or []
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def ready(api: Api, core: str, *names: str) -> None:
    for name in names:
        wait_until(f"{name} ready", partial(is_ready, api, core, name), seconds=START_SECONDS)


def container_status(api: Api, core: str, name: str, number: int = 0) -> dict[str, Any]:
    """The status of a container; empty before there is one."""
    found = status(api, core, name).get("containerStatuses") or [{}]
    return dict(found[number])


def execute(api: Api, core: str, name: str, script: str, container: str = "c") -> str:
    """What a script wrote in a running container; its failure is part of the text."""
    namespace = core.rsplit("/", 1)[1]
    command = ("exec", name, "-n", namespace, "-c", container, "--", "sh", "-c", script)
    return api.cluster.kubectl(*command, check=False)


def events(api: Api, core: str, name: str) -> dict[str, str]:
    """Reason and message of the events about a pod."""
    found = api("GET", f"{core}/events?fieldSelector={quote('involvedObject.name=' + name)}")
    return {item["reason"]: item.get("message", "") for item in found["items"]}
