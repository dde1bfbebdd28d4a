"""Claims that ask for devices as an administrator: only where the namespace is labelled for it."""

from __future__ import annotations

from typing import Any

import pytest

from minikube_py.client.types import Client, WriteOptions
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.resources import NAMESPACES, Resource

CLAIMS = Resource("resource.k8s.io", "v1", "resourceclaims", "ResourceClaim")
TEMPLATES = Resource("resource.k8s.io", "v1", "resourceclaimtemplates", "ResourceClaimTemplate")
TEXT = (
    "Forbidden: admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on the "
    "containing namespace"
)
ALLOWED, PLAIN = "allowed", "plain"


def asking(*, admin: bool) -> Object:
    exactly = {"deviceClassName": "c", **({"adminAccess": True} if admin else {})}
    return {
        "devices": {"requests": [{"name": "a", "exactly": {"deviceClassName": "c"}}, {"name": "b", "exactly": exactly}]}
    }


def named(spec: Object) -> Object:
    return {"metadata": {"name": "x"}, "spec": spec}


@pytest.fixture
async def namespaces(client: Client) -> None:
    labels = {"resource.kubernetes.io/admin-access": "true"}
    await client.create(NAMESPACES, {"metadata": {"name": ALLOWED, "labels": labels}})
    await client.create(NAMESPACES, {"metadata": {"name": PLAIN}})


async def why(awaitable: Any) -> list[tuple[str, str]]:
    with pytest.raises(ApiError) as caught:
        await awaitable
    assert caught.value.code == 422
    return [(cause["field"], cause["message"]) for cause in (caught.value.details or {})["causes"]]


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize(
    ("resource", "wrap"),
    [(CLAIMS, lambda spec: spec), (TEMPLATES, lambda spec: {"spec": spec})],
    ids=["claim", "template"],
)
async def test_new_claims(client: Client, resource: Resource, wrap: Any) -> None:
    wanted = [("spec.devices.requests[1].adminAccess", TEXT)]
    assert await why(client.create(resource, named(wrap(asking(admin=True))), PLAIN)) == wanted
    await client.create(resource, named(wrap(asking(admin=False))), PLAIN)
    await client.create(resource, named(wrap(asking(admin=True))), ALLOWED)


@pytest.mark.usefixtures("namespaces")
async def test_allocations(client: Client) -> None:
    result = {"request": "a", "driver": "d.io", "pool": "p", "device": "x", "adminAccess": True}
    for namespace in (PLAIN, ALLOWED):
        claim = thaw(await client.create(CLAIMS, named(asking(admin=False)), namespace))
        claim["status"] = {"allocation": {"devices": {"results": [result]}}}
        write = client.update(CLAIMS, claim, namespace, subresource="status", options=WriteOptions())
        if namespace == PLAIN:
            assert await why(write) == [("status.allocation.devices.results[0].adminAccess", TEXT)]
        else:
            assert (await write)["status"]["allocation"]["devices"]["results"] == [result]
