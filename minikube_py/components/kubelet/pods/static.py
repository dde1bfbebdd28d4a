"""Static pods: read from a folder of manifests, completed as the kubelet does, mirrored to the API.

A static pod's uid is a hash of its content and the node's name: a changed file is another pod. Its
mirror in the API carries that hash and cannot change the pod; a mirror without a pod is deleted.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from minikube_py.client.types import Client, DeleteOptions
from minikube_py.components.kubelet.pods.model import (
    CONFIG_HASH_ANNOTATION,
    CONFIG_MIRROR_ANNOTATION,
    CONFIG_SEEN_ANNOTATION,
    CONFIG_SOURCE_ANNOTATION,
)
from minikube_py.host.inotify import folder_changes
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import ApiError, is_already_exists, is_not_found
from minikube_py.machinery.objects import Object, annotations_of, metadata, name_of, namespace_of, thaw, uid_of
from minikube_py.machinery.resources import NODES, PODS
from minikube_py.machinery.times import rfc3339

log = logging.getLogger(__name__)

settle_seconds = 0.1
"""An editor's several writes to one file are taken as one change."""


def complete_static_pod(pod: Object, *, path: Path, node_name: str, now: float) -> Object:
    """A manifest as a pod of this node. Raises ValueError when it is none."""
    if pod.get("kind") != "Pod" or not name_of(pod) or not (pod.get("spec") or {}).get("containers"):
        raise ValueError(f"{path} is not a Pod manifest")
    made = thaw(pod)
    made.setdefault("apiVersion", "v1")
    meta, spec = made["metadata"], made["spec"]
    identity = orjson.dumps(pod, option=orjson.OPT_SORT_KEYS) + f"\nhost:{node_name}\nfile:{path}".encode()
    meta["uid"] = hashlib.md5(identity, usedforsecurity=False).hexdigest()
    meta["name"] = f"{name_of(pod)}-{node_name.lower()}"
    meta.setdefault("namespace", "default")
    meta["annotations"] = {
        **(meta.get("annotations") or {}),
        CONFIG_HASH_ANNOTATION: meta["uid"],
        CONFIG_SEEN_ANNOTATION: rfc3339(now),
        CONFIG_SOURCE_ANNOTATION: "file",
    }
    spec["nodeName"] = node_name
    spec.setdefault("restartPolicy", "Always")
    spec["tolerations"] = [*(spec.get("tolerations") or ()), {"operator": "Exists", "effect": "NoExecute"}]
    made["status"] = {"phase": "Pending"}
    return made


def read_static_pods(folder: Path, node_name: str, now: float) -> Sequence[Object]:
    """Every pod in the folder; files that are no pods are told and left out. Blocking."""
    import yaml

    found: dict[str, Object] = {}
    for path in sorted(folder.glob("*")):
        if path.name.startswith(".") or not path.is_file():
            continue
        try:
            pod = complete_static_pod(yaml.safe_load(path.read_bytes()) or {}, path=path, node_name=node_name, now=now)
        except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
            log.warning("cannot use static pod file", extra={"path": str(path), "error": str(error)})
            continue
        found.setdefault(f"{namespace_of(pod)}/{name_of(pod)}", pod)
    return list(found.values())


async def follow_static_pods(
    folder: Path, node_name: str, clock: Clock, take: Callable[[Sequence[Object]], None]
) -> None:
    """Hand over all static pods, again after every change of the folder; runs until cancelled."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True, mode=0o700)
    with folder_changes([folder]) as changed:
        while True:
            changed.clear()
            take(await asyncio.to_thread(read_static_pods, folder, node_name, clock.now()))
            await changed.wait()
            await clock.sleep(settle_seconds)


def mirror_of(pod: Object, node: Object | None) -> Object:
    """The mirror pod of a static pod."""
    made = thaw(pod)
    meta = made["metadata"]
    meta.pop("uid", None)
    meta["annotations"] = {**annotations_of(pod), CONFIG_MIRROR_ANNOTATION: annotations_of(pod)[CONFIG_HASH_ANNOTATION]}
    if node is not None:
        owner = {"apiVersion": "v1", "kind": "Node", "name": name_of(node), "uid": uid_of(node), "controller": True}
        meta["ownerReferences"] = [owner]
    made.pop("status", None)
    return made


def mirrors(mirror: Object, pod: Object) -> bool:
    """Whether the mirror shows this very static pod."""
    return annotations_of(mirror).get(CONFIG_MIRROR_ANNOTATION) == annotations_of(pod).get(CONFIG_HASH_ANNOTATION)


async def ensure_mirror(client: Client, pod: Object, existing: Object | None, node_name: str) -> None:
    """Bring the API's mirror of the static pod to what it should be. Failures are told; the next sync tries again."""
    try:
        if existing is not None:
            if mirrors(existing, pod) and not metadata(existing).get("deletionTimestamp"):
                return
            await delete_mirror(client, existing)
        node: Object | None = None
        try:
            node = await client.get(NODES, node_name)
        except ApiError as error:
            if not is_not_found(error):
                raise
        await client.create(PODS, mirror_of(pod, node), namespace_of(pod))
    except ApiError as error:
        if not is_already_exists(error):
            log.info("cannot mirror static pod", extra={"pod": name_of(pod), "error": error.message})


async def delete_mirror(client: Client, mirror: Object) -> None:
    """Remove a mirror pod at once. Raises ApiError."""
    options = DeleteOptions(grace_period_seconds=0, precondition_uid=uid_of(mirror))
    try:
        await client.delete(PODS, name_of(mirror), namespace_of(mirror), options=options)
    except ApiError as error:
        if not is_not_found(error):
            raise
