"""Where packets to Services go: model, compiler and differ together, seen through a packet tracer."""

from __future__ import annotations

from typing import Any

import pytest
from proxy_tracer import NODE, Outcome, trace

from minikube_py.components.proxy.compiler import compile_rules
from minikube_py.components.proxy.differ import transaction
from minikube_py.components.proxy.model import service_ports
from minikube_py.components.proxy.ruleset import Ruleset

POD, OUTSIDE = "10.42.0.9", "192.0.2.7"
LOCAL, REMOTE = "10.42.0.2", "10.42.1.2"


def service(**spec: Any) -> dict[str, Any]:
    status = spec.pop("status", {})
    base = {"clusterIP": "10.43.0.80", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]}
    return {"metadata": {"name": "web", "namespace": "default"}, "spec": {**base, **spec}, "status": status}


def slice_(*endpoints: dict[str, Any], port: int = 8080) -> dict[str, Any]:
    return {
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        "endpoints": list(endpoints),
    }


def endpoint(address: str, *, node: str = "here", **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "nodeName": node, "conditions": {"ready": True, **conditions}}


BOTH = slice_(endpoint(LOCAL), endpoint(REMOTE, node="there"))


def compiled(service_: dict[str, Any], *slices: dict[str, Any]) -> Ruleset:
    return compile_rules(service_ports(service_, slices, "here"), cluster_cidr="10.42.0.0/16")


def to(*addresses: str, masqueraded: bool = False) -> Outcome:
    return Outcome(frozenset(f"{address}:8080" for address in addresses), masqueraded)


CASES = [
    pytest.param(service(), [BOTH], POD, "10.43.0.80", 80, to(LOCAL, REMOTE), id="pod to cluster IP"),
    pytest.param(service(), [BOTH], NODE, "10.43.0.80", 80, to(LOCAL, REMOTE), id="node to cluster IP"),
    pytest.param(
        service(), [BOTH], OUTSIDE, "10.43.0.80", 80, to(LOCAL, REMOTE, masqueraded=True),
        id="outside to cluster IP is masqueraded",
    ),
    pytest.param(
        service(), [BOTH], OUTSIDE, NODE, 30080, to(LOCAL, REMOTE, masqueraded=True), id="outside to node port"
    ),
    pytest.param(service(), [], POD, "10.43.0.80", 80, Outcome(refused="rejected"), id="no endpoints: rejected"),
    pytest.param(service(), [], OUTSIDE, NODE, 30080, Outcome(refused="rejected"), id="node port without endpoints"),
    pytest.param(service(), [BOTH], POD, "10.43.0.80", 81, Outcome(refused="no rule"), id="another port"),
    pytest.param(
        service(), [slice_(endpoint(LOCAL, ready=False), endpoint(REMOTE, node="there"))], POD, "10.43.0.80", 80,
        to(REMOTE), id="an unready endpoint gets nothing",
    ),
    pytest.param(
        service(), [slice_(endpoint(LOCAL, ready=False, serving=True, terminating=True))], POD, "10.43.0.80", 80,
        to(LOCAL), id="a terminating endpoint serves when it is the last",
    ),
    pytest.param(
        service(internalTrafficPolicy="Local"), [BOTH], POD, "10.43.0.80", 80, to(LOCAL), id="internal policy Local"
    ),
    pytest.param(
        service(internalTrafficPolicy="Local"), [slice_(endpoint(REMOTE, node="there"))], POD, "10.43.0.80", 80,
        Outcome(refused="dropped"), id="internal policy Local without local endpoint drops",
    ),
    pytest.param(
        service(externalTrafficPolicy="Local"), [BOTH], OUTSIDE, NODE, 30080, to(LOCAL),
        id="external policy Local keeps the source",
    ),
    pytest.param(
        service(externalTrafficPolicy="Local"), [BOTH], POD, NODE, 30080, to(LOCAL, REMOTE, masqueraded=True),
        id="external policy Local does not bind pods",
    ),
    pytest.param(
        service(externalTrafficPolicy="Local"), [slice_(endpoint(REMOTE, node="there"))], OUTSIDE, NODE, 30080,
        Outcome(refused="dropped"), id="external policy Local without local endpoint drops",
    ),
    pytest.param(
        service(externalIPs=["198.51.100.1"]), [BOTH], OUTSIDE, "198.51.100.1", 80,
        to(LOCAL, REMOTE, masqueraded=True), id="external IP",
    ),
    pytest.param(
        service(
            status={"loadBalancer": {"ingress": [{"ip": "198.51.100.2"}]}}, loadBalancerSourceRanges=["203.0.113.0/24"]
        ),
        [BOTH], OUTSIDE, "198.51.100.2", 80, Outcome(refused="dropped"), id="load balancer source range refuses",
    ),
    pytest.param(
        service(
            status={"loadBalancer": {"ingress": [{"ip": "198.51.100.2"}]}}, loadBalancerSourceRanges=["192.0.2.0/24"]
        ),
        [BOTH], OUTSIDE, "198.51.100.2", 80, to(LOCAL, REMOTE, masqueraded=True),
        id="load balancer source range admits",
    ),
    pytest.param(
        service(sessionAffinity="ClientIP"), [BOTH], POD, "10.43.0.80", 80, to(LOCAL, REMOTE),
        id="session affinity chooses among all at first",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("service_", "slices", "source", "destination", "port", "outcome"), CASES)
def test_packet(
    service_: dict[str, Any], slices: list[dict[str, Any]], source: str, destination: str, port: int, outcome: Outcome
) -> None:
    assert trace(compiled(service_, *slices), source, destination, port) == outcome


@pytest.mark.parametrize(
    "service_",
    [
        pytest.param(service(clusterIP="None"), id="headless"),
        pytest.param(service(type="ExternalName", clusterIP=""), id="ExternalName"),
    ],
)
def test_services_without_rules(service_: dict[str, Any]) -> None:
    assert service_ports(service_, [BOTH], "here") == ()


def test_nothing_to_do_is_an_empty_transaction() -> None:
    rules = compiled(service(sessionAffinity="ClientIP"), BOTH)
    assert transaction("t", rules, rules) == ""


def test_an_endpoint_more_touches_one_chain_and_the_hairpin_set() -> None:
    before = compiled(service(ports=[{"name": "http", "port": 80}]), slice_(endpoint(LOCAL)))
    after = compiled(service(ports=[{"name": "http", "port": 80}]), slice_(endpoint(LOCAL), endpoint("10.42.0.3")))
    lines = transaction("t", before, after).splitlines()
    assert [line.split(" ip t ")[0] for line in lines] == ["flush chain", "add rule", "add rule", "add element"]
    assert "add element ip t hairpin { 10.42.0.3 . 10.42.0.3 }" in lines


def test_a_deleted_service_leaves_nothing() -> None:
    before = compiled(service(sessionAffinity="ClientIP"), BOTH)
    script = transaction("t", before, compile_rules([], cluster_cidr="10.42.0.0/16"))
    deleted = {line.split()[-1] for line in script.splitlines() if line.startswith(("delete chain", "delete map"))}
    assert deleted == set(before.chains) | set(before.dynamic_maps)


def test_lost_endpoints_forget_their_clients() -> None:
    before = compiled(service(sessionAffinity="ClientIP"), BOTH)
    after = compiled(service(sessionAffinity="ClientIP"), slice_(endpoint(LOCAL)))
    assert any(line.startswith("flush map ip t aff-") for line in transaction("t", before, after).splitlines())
