"""A kopf operator for Websites, run by ``kopf run``: handlers of every usual sort.

``create`` makes a ConfigMap that the Website owns, ``field`` follows ``spec.text``, a timer counts in the
status, a daemon posts an event that it runs, ``delete`` leaves a farewell ConfigMap (which kopf's finalizer waits
for), an event is posted to the Website, an index sees ConfigMaps, and kopf's own webhook server admits
Websites (``WEBHOOK_FOLDER`` holds ca.crt, tls.crt and tls.key, ``WEBHOOK_PORT`` is its port on loopback).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import kopf
import kubernetes

GROUP, VERSION, PLURAL = "kopf.example.com", "v1", "websites"


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    kubernetes.config.load_kube_config()
    settings.peering.name = "websites"
    settings.peering.mandatory = True
    settings.peering.priority = 5
    settings.posting.level = 20
    folder = Path(os.environ["WEBHOOK_FOLDER"])
    settings.admission.server = kopf.WebhookServer(
        addr="127.0.0.1", port=int(os.environ["WEBHOOK_PORT"]), host="127.0.0.1", cafile=folder / "ca.crt",
        certfile=folder / "tls.crt", pkeyfile=folder / "tls.key",
    )  # fmt: skip
    settings.admission.managed = "auto.kopf.example.com"
    settings.persistence.finalizer = "kopf.example.com/finalizer"


@kopf.on.validate(GROUP, VERSION, PLURAL, id="polite")
def polite(spec: kopf.Spec, warnings: list[str], **_: Any) -> None:
    if spec.get("text") == "rude":
        raise kopf.AdmissionError("mind your words", code=403)
    if len(spec.get("text", "")) > 20:
        warnings.append("that is a long text")


@kopf.on.mutate(GROUP, VERSION, PLURAL, id="author", operations=["CREATE"])
def author(spec: kopf.Spec, patch: kopf.Patch, **_: Any) -> None:
    if "author" not in spec:
        patch.spec["author"] = "unknown"


@kopf.index("configmaps", labels={"website": kopf.PRESENT})
def owned(name: str, labels: dict[str, str], **_: Any) -> dict[str, str]:
    return {labels["website"]: name}


@kopf.on.create(GROUP, VERSION, PLURAL)
def created(body: kopf.Body, spec: kopf.Spec, name: str, namespace: str, retry: int, **_: Any) -> dict[str, Any]:
    if retry == 0:
        raise kopf.TemporaryError("the first attempt always fails", delay=0.2)
    child: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"text": spec["text"]},
    }
    kopf.adopt(child)
    kopf.label(child, {"website": name})
    kubernetes.client.CoreV1Api().create_namespaced_config_map(namespace, child)
    kopf.info(body, reason="Published", message=f"{name} is there")
    return {"attempts": retry + 1}


@kopf.on.field(GROUP, VERSION, PLURAL, field="spec.text")
def text_changed(
    old: str | None, new: str, name: str, namespace: str, owned: kopf.Index, patch: kopf.Patch, **_: Any
) -> None:
    if old is not None:
        kubernetes.client.CoreV1Api().patch_namespaced_config_map(name, namespace, {"data": {"text": new}})
        patch.status["text"] = new
        patch.status["indexed"] = list(owned.get(name, []))


@kopf.timer(GROUP, VERSION, PLURAL, interval=0.3)
def tick(patch: kopf.Patch, status: kopf.Status, **_: Any) -> None:
    patch.status["ticks"] = min(status.get("ticks", 0) + 1, 3)


@kopf.daemon(GROUP, VERSION, PLURAL)
async def stay(stopped: kopf.DaemonStopped, body: kopf.Body, **_: Any) -> None:
    kopf.info(body, reason="Guarded", message="the daemon runs")
    await stopped.wait()


@kopf.on.delete(GROUP, VERSION, PLURAL)
def deleted(name: str, namespace: str, **_: Any) -> None:
    farewell = {"metadata": {"name": f"{name}-farewell"}}
    kubernetes.client.CoreV1Api().create_namespaced_config_map(namespace, farewell)
