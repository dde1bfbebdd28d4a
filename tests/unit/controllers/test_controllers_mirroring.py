"""Endpoints written by hand become EndpointSlices."""

from __future__ import annotations

import pytest
from controllers_world import NAMESPACE, World

from minikube_py.components.controllers.endpoints.mirroring import MANAGED_BY, MIRROR, EndpointsMirror, is_mirrored
from minikube_py.machinery.objects import Object, thaw
from minikube_py.machinery.resources import ENDPOINT_SLICES, ENDPOINTS, SERVICES

PORTS = [{"name": "http", "port": 80, "protocol": "TCP"}]


def service(**spec: object) -> Object:
    return {"metadata": {"name": "s", "namespace": NAMESPACE}, "spec": {"ports": PORTS, **spec}}


def endpoints(*subsets: Object, **meta: object) -> Object:
    return {"metadata": {"name": "s", "namespace": NAMESPACE, **meta}, "subsets": list(subsets)}


def subset(*addresses: str, not_ready: tuple[str, ...] = ()) -> Object:
    found: Object = {"addresses": [{"ip": one} for one in addresses], "ports": PORTS}
    return found | ({"notReadyAddresses": [{"ip": one} for one in not_ready]} if not_ready else {})


def shown(world: World) -> dict[str, dict[str, bool]]:
    """Readiness by address, by address type."""
    found: dict[str, dict[str, bool]] = {}
    for piece in world.client.all(ENDPOINT_SLICES, NAMESPACE):
        assert piece["metadata"]["labels"][MANAGED_BY] == MIRROR and piece["ports"][0]["port"] == 80
        for entry in piece["endpoints"]:
            found.setdefault(piece["addressType"], {})[entry["addresses"][0]] = entry["conditions"]["ready"]
    return found


@pytest.mark.parametrize(
    ("written", "served", "wanted"),
    [
        pytest.param(endpoints(), service(), True, id="no selector"),
        pytest.param(endpoints(), service(selector={"a": "b"}), False, id="another controller writes them"),
        pytest.param(endpoints(), None, False, id="no Service"),
        pytest.param(None, service(), False, id="no Endpoints"),
        pytest.param(
            endpoints(labels={"endpointslice.kubernetes.io/skip-mirror": "true"}), service(), False, id="not wished"
        ),
        pytest.param(
            endpoints(annotations={"control-plane.alpha.kubernetes.io/leader": "{}"}), service(), False, id="a lock"
        ),
    ],
)
def test_what_is_mirrored(written: Object | None, served: Object | None, wanted: bool) -> None:
    assert is_mirrored(written, served) is wanted


async def test_slices_follow_endpoints_of_both_families(world: World) -> None:
    world.start(EndpointsMirror)
    await world.client.create(SERVICES, service(), NAMESPACE)
    made = await world.client.create(
        ENDPOINTS, endpoints(subset("10.1.2.3", "fd00::1", not_ready=("10.1.2.4",))), NAMESPACE
    )
    await world.settle()
    assert shown(world) == {"IPv4": {"10.1.2.3": True, "10.1.2.4": False}, "IPv6": {"fd00::1": True}}
    changed = thaw(made)
    changed["subsets"] = [subset("10.2.3.4")]
    changed["metadata"]["labels"] = {"more": "labels"}
    await world.client.update(ENDPOINTS, changed, NAMESPACE)
    await world.settle()
    assert shown(world) == {"IPv4": {"10.2.3.4": True}}
    assert world.client.all(ENDPOINT_SLICES, NAMESPACE)[0]["metadata"]["labels"]["more"] == "labels"
    await world.client.delete(ENDPOINTS, "s", NAMESPACE)
    await world.settle()
    assert not world.client.all(ENDPOINT_SLICES, NAMESPACE)


async def test_a_service_that_gets_a_selector_is_mirrored_no_more(world: World) -> None:
    world.start(EndpointsMirror)
    made = await world.client.create(SERVICES, service(), NAMESPACE)
    await world.client.create(ENDPOINTS, endpoints(subset("10.1.2.3")), NAMESPACE)
    await world.settle()
    assert shown(world) == {"IPv4": {"10.1.2.3": True}}
    await world.client.update(SERVICES, {**made, "spec": {**made["spec"], "selector": {"a": "b"}}}, NAMESPACE)
    await world.settle()
    assert not world.client.all(ENDPOINT_SLICES, NAMESPACE)
