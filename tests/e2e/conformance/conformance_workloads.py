"""What the conformance tests of workloads share: pod templates, kinds with replicas, looks at their pods."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from cluster import IMAGE, wait_until
from conformance_api import MERGE, Api, Refused

OTHER_IMAGE = "localhost/pyk3s/pause:1"
"""An image that every node has, for tests that change a pod's image."""
PATIENCE = 120.0
IDLE = "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"
READY_FILE = {"exec": {"command": ["cat", "/ready"]}, "periodSeconds": 1, "failureThreshold": 1}
"""A readiness probe that a test answers with ``mark_ready``."""


def container(script: str = IDLE, **more: Any) -> dict[str, Any]:
    return {"name": "c", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script], **more}


def template(labels: Mapping[str, str], script: str = IDLE, **more: Any) -> dict[str, Any]:
    """A pod template of one container; ``more`` goes into the container, ``spec`` into the pod's spec."""
    spec = {"terminationGracePeriodSeconds": 0, **more.pop("spec", {})}
    return {"metadata": {"labels": dict(labels)}, "spec": {**spec, "containers": [container(script, **more)]}}


def pod(name: str, script: str = IDLE, **more: Any) -> dict[str, Any]:
    made = template(more.pop("labels", {}), script, **more)
    return {"apiVersion": "v1", "kind": "Pod", **made, "metadata": {**made["metadata"], "name": name}}


def workload(name: str, replicas: int | None, pods: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    """An object of an apps/v1 kind (without its kind), selecting the pods of its template."""
    labels = pods["metadata"]["labels"]
    counted = {} if replicas is None else {"replicas": replicas}
    whole = {**counted, "selector": {"matchLabels": labels}, "template": pods, **spec}
    return {"metadata": {"name": name, "labels": dict(labels)}, "spec": whole}


def is_true(item: Mapping[str, Any], type: str) -> bool:
    conditions = (item.get("status") or {}).get("conditions") or []
    return any(each["type"] == type and each["status"] == "True" for each in conditions)


def pods_of(api: Api, core: str, selector: str = "") -> list[dict[str, Any]]:
    """The pods that are not on their way out."""
    items = api("GET", f"{core}/pods?labelSelector={selector}")["items"]
    return [item for item in items if "deletionTimestamp" not in item["metadata"]]


def ready_pods(api: Api, core: str, selector: str = "") -> list[dict[str, Any]]:
    return [item for item in pods_of(api, core, selector) if is_true(item, "Ready")]


def wait_ready(api: Api, core: str, selector: str, count: int) -> list[dict[str, Any]]:
    """Wait until exactly so many pods are there and ready; they are returned, by name."""

    def there() -> list[dict[str, Any]] | None:
        ready = ready_pods(api, core, selector)
        whole = len(ready) == count == len(api("GET", f"{core}/pods?labelSelector={selector}")["items"])
        return [*ready, {}] if whole else None

    found = wait_until(f"{count} ready pods of {selector}", there, seconds=PATIENCE)
    return sorted(found[:-1], key=lambda item: str(item["metadata"]["name"]))


def wait_status(api: Api, path: str, **fields: Any) -> dict[str, Any]:
    """Wait until the status has seen the newest spec and has these fields (0: also absent); the object."""

    def there() -> dict[str, Any] | None:
        found = dict(api("GET", path))
        status = found.get("status") or {}
        seen = status.get("observedGeneration", 0) >= found["metadata"].get("generation", 0)
        return found if seen and all((status.get(key) or 0) == value for key, value in fields.items()) else None

    try:
        return dict(wait_until(f"{path}: {fields}", there, seconds=PATIENCE))
    except AssertionError as error:
        raise AssertionError(f"{error}: {api('GET', path).get('status')}") from None


def merge(api: Api, path: str, patch: Mapping[str, Any]) -> Any:
    return api("PATCH", path, patch, media_type=MERGE)


def update(api: Api, path: str, change: Callable[[dict[str, Any]], None], *, at: str = "") -> dict[str, Any]:
    """Read an object, change it and put it back (to the subresource ``at``), again as long as others are faster."""

    def put() -> dict[str, Any] | None:
        found = dict(api("GET", path + at))
        change(found)
        code, _, data = api.exchange("PUT", path + at, found)
        if code == 409:
            return None
        if code >= 400:
            raise Refused(code, json.loads(data))
        return dict(json.loads(data))

    return dict(wait_until(f"{path} updated", put, seconds=PATIENCE))


def owner_of(item: Mapping[str, Any]) -> str:
    """The name of the controller that owns an object."""
    references = item["metadata"].get("ownerReferences") or []
    return next((str(each["name"]) for each in references if each.get("controller")), "")


def exercise_scale(api: Api, path: str) -> None:
    """Read, update and patch a scale of 1."""
    scale = api("GET", f"{path}/scale")
    assert (scale["kind"], scale["spec"]["replicas"], scale["status"]["replicas"]) == ("Scale", 1, 1)
    scale["spec"]["replicas"] = 2
    scale["metadata"].pop("resourceVersion")
    assert api("PUT", f"{path}/scale", scale)["spec"]["replicas"] == 2
    assert api("GET", path)["spec"]["replicas"] == 2
    assert merge(api, f"{path}/scale", {"spec": {"replicas": 4}})["spec"]["replicas"] == 4
    assert api("GET", path)["spec"]["replicas"] == 4


def exercise_status(api: Api, path: str) -> None:
    """Read the status, put one condition there by an update and one by a patch; both events are seen."""
    collection, name = path.rsplit("/", 1)
    assert api("GET", f"{path}/status")["status"]
    condition = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from e2e test"}

    def by_update(found: dict[str, Any]) -> None:
        found["status"].setdefault("conditions", []).append(condition)

    def seen(following: Any, type: str) -> None:
        while not any(each["type"] == type for each in following()[1]["status"].get("conditions") or []):
            pass

    version = api("GET", collection)["metadata"]["resourceVersion"]
    selector = f"metadata.name={name}"
    with api.watch(collection, fieldSelector=selector, resourceVersion=version, seconds=60) as following:
        update(api, path, by_update, at="/status")
        seen(following, "StatusUpdate")
        patch = {"status": {"conditions": [{**condition, "type": "StatusPatched"}]}}
        patched = merge(api, f"{path}/status", patch)
        assert any(each["type"] == "StatusPatched" for each in patched["status"]["conditions"])
        seen(following, "StatusPatched")
