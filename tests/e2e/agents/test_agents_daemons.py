"""DaemonSets on two hosts: a roll back leaves alone what the broken update never reached."""

from __future__ import annotations

import json
from typing import Any

from agents_hosts import Pair, wait_ready
from cluster import IMAGE, wait_until


def daemons(image: str) -> dict[str, Any]:
    container = {"name": "c", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "1000"]}
    template = {
        "metadata": {"labels": {"app": "roll"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }
    spec = {"selector": {"matchLabels": {"app": "roll"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "roll"}, "spec": spec}


def test_roll_back_without_unnecessary_restarts(pair: Pair) -> None:
    server = pair.server
    wait_ready(server, "node-1", "node-2")
    server.apply(daemons(IMAGE))
    server.kubectl("rollout", "status", "daemonset/roll", "--timeout=120s", seconds=150)

    def images() -> dict[str, str]:
        """The image of each pod that is not on its way out, by uid."""
        items = server.get("pods", "-l", "app=roll")["items"]
        alive = (item for item in items if "deletionTimestamp" not in item["metadata"])
        return {item["metadata"]["uid"]: item["spec"]["containers"][0]["image"] for item in alive}

    before = set(images())
    assert len(before) == 2
    broken = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "127.0.0.1:1/no:404"}]
    server.kubectl("patch", "daemonset", "roll", "--type=json", "-p", json.dumps(broken))
    wait_until("a stuck update", lambda: sorted(images().values()) == ["127.0.0.1:1/no:404", IMAGE], seconds=120)
    untouched = {uid for uid, image in images().items() if image == IMAGE}
    assert len(untouched) == 1 and untouched < before
    server.kubectl("rollout", "undo", "daemonset/roll")
    server.kubectl("rollout", "status", "daemonset/roll", "--timeout=120s", seconds=150)
    wait_until("two good pods", lambda: list(images().values()) == [IMAGE] * 2, seconds=120)
    assert untouched < set(images())
    server.kubectl("delete", "daemonset", "roll")
