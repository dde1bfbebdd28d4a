"""Families, addresses and ports of Services, in clusters of one family and of two."""

from __future__ import annotations

import re
from typing import Any

import pytest

from minikube_py.components.apiserver.registry.allocation import ServiceAllocator, ServiceRanges
from minikube_py.components.apiserver.registry.service_families import keeps_preference, settle_families
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import Object

BOTH = "10.43.0.0/16,fd00:43::/112"


def service(**spec: Any) -> Object:
    made = {"type": "ClusterIP", "selector": {"a": "b"}, "ports": [{"port": 80, "protocol": "TCP"}], **spec}
    return {"metadata": {"name": "s", "namespace": "x"}, "spec": made}


FOUR, SIX = ("IPv4",), ("IPv6",)
NOT_DUAL = (
    'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services'
)
NONE = {"clusterIP": "None", "clusterIPs": ["None"]}


@pytest.mark.parametrize(
    ("spec", "configured", "wanted"),
    [
        pytest.param({}, FOUR, ("SingleStack", ["IPv4"]), id="one family"),
        pytest.param({}, SIX + FOUR, ("SingleStack", ["IPv6"]), id="the default family is the first"),
        pytest.param({"ipFamilyPolicy": "PreferDualStack"}, FOUR, ("PreferDualStack", ["IPv4"]), id="prefers in vain"),
        pytest.param(
            {"ipFamilyPolicy": "PreferDualStack"}, FOUR + SIX, ("PreferDualStack", ["IPv4", "IPv6"]), id="prefers two"
        ),
        pytest.param(
            {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]},
            FOUR + SIX,
            ("RequireDualStack", ["IPv6", "IPv4"]),
            id="names the first",
        ),
        pytest.param({"ipFamilyPolicy": "RequireDualStack"}, FOUR, NOT_DUAL, id="needs two"),
        pytest.param(
            {"ipFamilies": ["IPv6"]},
            FOUR,
            'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster',
            id="a family that is not there",
        ),
        pytest.param(
            {"clusterIP": "fd00:43::5", "clusterIPs": ["fd00:43::5"]},
            FOUR + SIX,
            ("SingleStack", ["IPv6"]),
            id="the address tells",
        ),
        pytest.param(
            {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4", "IPv6"]},
            FOUR + SIX,
            "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when "
            "multiple IP families are specified",
            id="two families of one stack",
        ),
        pytest.param(
            {**NONE, "selector": {}}, FOUR, ("RequireDualStack", ["IPv4", "IPv6"]), id="addresses from elsewhere"
        ),
        pytest.param(NONE, FOUR, ("SingleStack", ["IPv4"]), id="headless with a selector"),
    ],
)
def test_families_of_new_services(
    spec: Object, configured: tuple[str, ...], wanted: tuple[str, list[str]] | str
) -> None:
    draft = service(**spec)
    if isinstance(wanted, str):
        with pytest.raises(ApiError) as caught:
            settle_families(draft, draft["spec"], None, configured)
        assert (caught.value.code, wanted in caught.value.message) == (422, True)
    else:
        settle_families(draft, draft["spec"], None, configured)
        assert (draft["spec"]["ipFamilyPolicy"], draft["spec"]["ipFamilies"]) == wanted


def allocator(network: str = BOTH, *services: Object) -> ServiceAllocator:
    return ServiceAllocator(ServiceRanges(network, 30000, 30001), services)


def reserve(taken_from: ServiceAllocator, draft: Object, old: Object | None = None) -> Object:
    taken_from.reserve(draft, old, dry_run=False)
    spec: Object = draft["spec"]
    return spec


def test_a_service_of_two_families_has_an_address_of_each() -> None:
    spec = reserve(allocator(), service(ipFamilyPolicy="RequireDualStack"))
    assert spec["ipFamilies"] == ["IPv4", "IPv6"]
    first, second = spec["clusterIPs"]
    assert spec["clusterIP"] == first
    assert (first.startswith("10.43."), second.startswith("fd00:43::")) == (True, True)


def test_a_second_family_comes_and_goes() -> None:
    pool = allocator()
    one = service()
    reserve(pool, one)
    two = service(**{**one["spec"], "ipFamilyPolicy": "PreferDualStack"})
    reserve(pool, two, one)
    assert two["spec"]["clusterIPs"][0] == one["spec"]["clusterIP"]
    assert len(two["spec"]["clusterIPs"]) == 2
    back = service(**{**two["spec"], "ipFamilyPolicy": "SingleStack"})
    reserve(pool, back, two)
    assert (back["spec"]["ipFamilies"], back["spec"]["clusterIPs"]) == (["IPv4"], [one["spec"]["clusterIP"]])
    pool.released(two, back)
    again = service(clusterIP=two["spec"]["clusterIPs"][1], clusterIPs=[two["spec"]["clusterIPs"][1]])
    assert reserve(pool, again)["ipFamilies"] == ["IPv6"]


def test_a_refused_service_keeps_nothing() -> None:
    pool = allocator("10.43.0.0/16", service(clusterIP="10.43.0.9", clusterIPs=["10.43.0.9"]))
    for _ in range(2):
        with pytest.raises(ApiError, match=r"failed to allocate IP 10\.43\.0\.9: provided IP is already allocated"):
            reserve(pool, service(clusterIP="10.43.0.9", clusterIPs=["10.43.0.9"]))
    ports = [{"port": port, "protocol": "TCP"} for port in (1, 2, 3)]
    with pytest.raises(ApiError):
        reserve(pool, service(type="NodePort", ports=ports))
    assert len({port["nodePort"] for port in reserve(pool, service(type="NodePort", ports=ports[:2]))["ports"]}) == 2


@pytest.mark.parametrize(
    ("address", "dry_run", "wanted"),
    [
        ("10.43.0.0", False, "is not in the valid range. The range of valid IPs is 10.43.0.0/16"),
        ("10.43.255.255", True, "is not in the valid range. The range of valid IPs is 10.43.0.0/16"),
        ("10.44.0.1", False, "the provided network does not match the current range"),
        ("10.44.0.1", True, "is not in the valid range. The range of valid IPs is 10.43.0.0/16"),
        ("10.43.0.9", False, "provided IP is already allocated"),
    ],
)
def test_addresses_that_are_not_to_be_had(address: str, dry_run: bool, wanted: str) -> None:
    pool = allocator("10.43.0.0/16", service(clusterIP="10.43.0.9", clusterIPs=["10.43.0.9"]))
    with pytest.raises(ApiError, match=re.escape(wanted)):
        pool.reserve(service(clusterIP=address, clusterIPs=[address]), None, dry_run=dry_run)


def test_a_dry_run_may_ask_for_a_taken_address_and_does_not_free_it() -> None:
    held = service(clusterIP="10.43.0.9", clusterIPs=["10.43.0.9"])
    pool = allocator("10.43.0.0/16", held)
    pool.reserve(service(clusterIP="10.43.0.9", clusterIPs=["10.43.0.9"]), None, dry_run=True)
    with pytest.raises(ApiError, match="provided IP is already allocated"):
        pool.reserve(service(clusterIP="10.43.0.9", clusterIPs=["10.43.0.9"]), None, dry_run=False)


def test_one_number_serves_two_protocols() -> None:
    ports = [{"port": 53, "protocol": name, "nodePort": 30000} for name in ("TCP", "UDP")]
    assert [port["nodePort"] for port in reserve(allocator(), service(type="NodePort", ports=ports))["ports"]] == [
        30000
    ] * 2


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        pytest.param({}, True, id="nothing changes"),
        pytest.param({"ipFamilyPolicy": "RequireDualStack"}, False, id="it needs two now"),
        pytest.param({"type": "NodePort"}, False, id="another type"),
        pytest.param({"ipFamilies": ["IPv6"]}, False, id="another family"),
    ],
)
def test_services_that_prefer_two_families_stay_as_they_are(change: Object, wanted: bool) -> None:
    old = service(ipFamilyPolicy="PreferDualStack", ipFamilies=["IPv4"], clusterIPs=["10.43.0.9"])
    assert keeps_preference({**old["spec"], **change}, old) is wanted
