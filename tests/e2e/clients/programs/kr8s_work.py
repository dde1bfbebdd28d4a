"""kr8s' usual work, asynchronous and synchronous: ``kr8s_work.py KUBECONFIG NAMESPACE``. Ends with ``done``."""

from __future__ import annotations

import asyncio
import os
import sys

import kr8s
from kr8s import objects
from kr8s.asyncio import api as async_api
from kr8s.asyncio import objects as async_objects


def synchronous(namespace: str) -> None:
    api = kr8s.api(namespace=namespace)
    assert api.version()["minor"].startswith("36")
    assert {"pods", "deployments"} <= {resource["name"] for resource in api.api_resources()}
    made = objects.ConfigMap({"metadata": {"name": "k", "namespace": namespace}, "data": {"a": "1"}})
    made.create()
    assert made.exists()
    made.patch({"data": {"b": "2"}})
    assert dict(made.data) == {"a": "1", "b": "2"}
    made.label({"tier": "x"})
    made.annotate({"note": "y"})
    found = list(kr8s.get("configmaps", namespace=namespace, label_selector={"tier": "x"}))
    assert [item.name for item in found] == ["k"], found
    assert found[0].annotations["note"] == "y"
    made.delete()
    made.wait("delete", timeout=10)
    assert not made.exists()
    try:
        objects.ConfigMap.get("none", namespace=namespace)
    except kr8s.NotFoundError:
        pass
    else:
        raise AssertionError("found")


def deployments(namespace: str) -> None:
    template = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    made = objects.Deployment(
        {
            "metadata": {"name": "d", "namespace": namespace},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "d"}}, "template": template},
        }
    )
    made.create()
    assert made.scale(0) is None and made.replicas == 0
    made.refresh()
    assert made.raw["metadata"]["generation"] == 1
    made.delete(propagation_policy="Foreground")
    made.wait("delete", timeout=10)


async def asynchronous(namespace: str) -> None:
    """Watch, custom kinds by discovery, paging of a list."""
    client = await async_api(namespace=namespace)
    seen: list[tuple[str, str]] = []
    stands = asyncio.Event()

    async def look() -> None:
        async for kind, obj in client.watch("secrets", namespace=namespace):
            if obj.name == "here-already":
                stands.set()
                continue
            seen.append((kind, obj.name))
            if kind == "DELETED":
                return

    first = await async_objects.Secret({"metadata": {"name": "here-already", "namespace": namespace}})
    await first.create()
    watching = asyncio.create_task(look())
    await asyncio.wait_for(stands.wait(), 30)
    secret = await async_objects.Secret({"metadata": {"name": "s", "namespace": namespace}, "stringData": {"a": "b"}})
    await secret.create()
    await secret.patch({"stringData": {"a": "c"}})
    await secret.delete()
    await asyncio.wait_for(watching, 30)
    assert seen == [("ADDED", "s"), ("MODIFIED", "s"), ("DELETED", "s")], seen
    lease = await async_objects.object_from_spec(
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "l", "namespace": namespace},
            "spec": {"holderIdentity": "me"},
        },
        api=client,
        allow_unknown_type=True,
    )
    await lease.create()
    listed = [item async for item in client.get("leases.coordination.k8s.io", namespace=namespace)]
    assert [item.raw["spec"]["holderIdentity"] for item in listed] == ["me"]


def main() -> None:
    os.environ["KUBECONFIG"] = sys.argv[1]
    synchronous(sys.argv[2])
    deployments(sys.argv[2])
    asyncio.run(asynchronous(sys.argv[2]))
    print("done")


if __name__ == "__main__":
    main()
