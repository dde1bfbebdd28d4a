"""lightkube's usual work: ``lightkube_work.py KUBECONFIG NAMESPACE``. Ends with ``done``."""

from __future__ import annotations

import asyncio
import sys

from lightkube import ApiError, AsyncClient, Client, KubeConfig, codecs
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Namespace
from lightkube.types import PatchType

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: m}
spec:
  replicas: 0
  selector: {matchLabels: {app: x}}
  template:
    metadata: {labels: {app: x}}
    spec: {containers: [{name: c, image: x}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: m}
data: {a: b}
"""


def crud(client: Client, namespace: str) -> None:
    made = client.create(ConfigMap(metadata=ObjectMeta(name="c", namespace=namespace), data={"a": "1"}))
    assert client.get(ConfigMap, "c").data == {"a": "1"}
    made.data["a"] = "2"
    assert client.replace(made).data == {"a": "2"}
    patched = client.patch(ConfigMap, "c", {"metadata": {"labels": {"x": "y"}}}, patch_type=PatchType.MERGE)
    assert patched.metadata.labels == {"x": "y"}
    assert [item.metadata.name for item in client.list(ConfigMap, labels={"x": "y"}, chunk_size=1)] == ["c"]
    assert namespace in [item.metadata.name for item in client.list(Namespace, chunk_size=2)]
    client.delete(ConfigMap, "c")
    try:
        client.get(ConfigMap, "c")
    except ApiError as error:
        assert error.status.code == 404 and error.status.reason == "NotFound"
    else:
        raise AssertionError("still there")


def applying(client: Client, namespace: str) -> None:
    """Server-side apply, conflict, force; the scale and status subresources; a generic resource."""
    for obj in codecs.load_all_yaml(MANIFEST):
        client.apply(obj, namespace=namespace)
    change = ConfigMap.from_dict(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": "c"}}
    )
    try:
        client.apply(change, namespace=namespace, field_manager="other")
    except ApiError as error:
        assert error.status.code == 409 and error.status.details.causes[0].reason == "FieldManagerConflict"
    else:
        raise AssertionError("no conflict")
    assert client.apply(change, namespace=namespace, field_manager="other", force=True).data == {"a": "c"}
    assert client.get(Deployment.Scale, "m", namespace=namespace).spec.replicas in (0, None)
    lease = create_namespaced_resource("coordination.k8s.io", "v1", "Lease", "leases")
    client.create(lease(metadata=ObjectMeta(name="l", namespace=namespace), spec={"holderIdentity": "me"}))
    assert client.get(lease, "l").spec["holderIdentity"] == "me"
    client.deletecollection(ConfigMap, namespace=namespace)


async def watching(config: KubeConfig, namespace: str) -> None:
    client = AsyncClient(config=config, namespace=namespace, field_manager="lightkube")
    seen: list[str] = []
    stands = asyncio.Event()

    async def look() -> None:
        async for kind, obj in client.watch(ConfigMap, labels={"w": "1"}):
            if obj.metadata.name == "here-already":
                stands.set()
                continue
            seen.append(f"{kind} {obj.metadata.name}")
            if kind == "DELETED":
                return

    await client.create(ConfigMap(metadata=ObjectMeta(name="here-already", labels={"w": "1"})))
    task = asyncio.create_task(look())
    await asyncio.wait_for(stands.wait(), 30)
    await client.create(ConfigMap(metadata=ObjectMeta(name="w", labels={"w": "1"})))
    # leaving the selector is a deletion for this watch
    await client.patch(ConfigMap, "w", {"metadata": {"labels": {"w": "2"}}})
    await asyncio.wait_for(task, 30)
    assert seen == ["ADDED w", "DELETED w"], seen
    await client.close()


def main() -> None:
    config = KubeConfig.from_file(sys.argv[1])
    client = Client(config=config, namespace=sys.argv[2], field_manager="lightkube")
    crud(client, sys.argv[2])
    applying(client, sys.argv[2])
    asyncio.run(watching(config, sys.argv[2]))
    print("done")


if __name__ == "__main__":
    main()
