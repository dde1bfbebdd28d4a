"""sig-network conformance: names of Services and pods, and what a pod may say about its own resolver."""

from __future__ import annotations

from typing import Any

import pytest
from cluster import Cluster, wait_until
from conformance_api import MERGE, Api
from conformance_pods import container, create, execute, pod, ready, status


@pytest.fixture(scope="module")
def names(api: Api, ground: str) -> str:
    """A client; a pod with host name and subdomain; one with a resolver of its own; Services of three kinds."""
    own = {
        "nameservers": ["1.1.1.1"], "searches": ["resolv.conf.local"], "options": [{"name": "ndots", "value": "3"}],
    }  # fmt: skip
    serving = container("sleep 3600", ports=[{"name": "http", "containerPort": 80}])
    create(api, ground, [
        pod("client", container("sleep 3600")),
        pod("named", serving, hostname="querier", subdomain="headless"),
        pod("own-dns", container("sleep 3600"), dnsPolicy="None", dnsConfig=own),
    ])  # fmt: skip
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    for name, spec in {
        "headless": {"clusterIP": "None", "selector": {"app": "named"}, "ports": ports},
        "plain": {"selector": {"app": "named"}, "ports": ports},
        "external": {"type": "ExternalName", "externalName": "foo.example.com"},
    }.items():
        api("POST", f"{ground}/services", {"metadata": {"name": name}, "spec": spec})
    ready(api, ground, "client", "named", "own-dns")
    return ground


def looked_up(api: Api, core: str, name: str, kind: str = "a") -> str:
    return execute(api, core, "client", f"nslookup -type={kind} {name} 2>&1")


def resolves(api: Api, core: str, name: str, wanted: str, kind: str = "a") -> None:
    wait_until(f"{name} is {wanted}", lambda: wanted in looked_up(api, core, name, kind), seconds=60)


def namespace_of(core: str) -> str:
    return core.rsplit("/", 1)[1]


def test_the_api_server_has_a_name_fully_and_partly_qualified(api: Api, names: str) -> None:
    address = api("GET", "/api/v1/namespaces/default/services/kubernetes")["spec"]["clusterIP"]
    resolves(api, names, "kubernetes.default.svc.cluster.local", address)
    for partial in ("kubernetes.default", "kubernetes.default.svc"):
        text = execute(api, names, "client", f"ping -c 1 -W 1 {partial} 2>&1 | head -1")
        assert f"({address})" in text


def test_services_have_names(api: Api, names: str) -> None:
    """Addresses and ports by name, of a Service with an address and of a headless one, and the way back."""
    domain = f"{namespace_of(names)}.svc.cluster.local"
    address = api("GET", f"{names}/services/plain")["spec"]["clusterIP"]
    pod_address = status(api, names, "named")["podIP"]
    resolves(api, names, f"plain.{domain}", address)
    resolves(api, names, f"headless.{domain}", pod_address)
    resolves(api, names, f"_http._tcp.plain.{domain}", f"plain.{domain}", "srv")
    resolves(api, names, f"_http._tcp.headless.{domain}", f"querier.headless.{domain}", "srv")
    backwards = ".".join(reversed(address.split("."))) + ".in-addr.arpa"
    resolves(api, names, backwards, f"plain.{domain}", "ptr")
    for partial in ("plain", f"plain.{namespace_of(names)}", f"plain.{namespace_of(names)}.svc"):
        assert f"({address})" in execute(api, names, "client", f"ping -c 1 -W 1 {partial} 2>&1 | head -1")


def test_pods_have_host_names_and_subdomains(api: Api, names: str) -> None:
    domain = f"headless.{namespace_of(names)}.svc.cluster.local"
    address = status(api, names, "named")["podIP"]
    resolves(api, names, f"querier.{domain}", address)
    assert execute(api, names, "named", "hostname; hostname -f").split() == ["querier", f"querier.{domain}"]
    assert f"{address}\tquerier.{domain}\tquerier" in execute(api, names, "named", "cat /etc/hosts")
    by_address = f"{address.replace('.', '-')}.{namespace_of(names)}.pod.cluster.local"
    resolves(api, names, by_address, address)


def test_names_outside_follow_their_service(api: Api, names: str) -> None:
    name = f"external.{namespace_of(names)}.svc.cluster.local"
    resolves(api, names, name, "foo.example.com", "cname")
    api("PATCH", f"{names}/services/external", {"spec": {"externalName": "bar.example.com"}}, media_type=MERGE)
    resolves(api, names, name, "bar.example.com", "cname")
    inside: dict[str, Any] = {"type": "ClusterIP", "externalName": None, "ports": [{"port": 80}]}
    address = api("PATCH", f"{names}/services/external", {"spec": inside}, media_type=MERGE)["spec"]["clusterIP"]
    resolves(api, names, name, address)


def test_a_pod_brings_its_own_resolver(cluster: Cluster, api: Api, names: str) -> None:
    lines = execute(api, names, "own-dns", "cat /etc/resolv.conf").splitlines()
    assert lines == ["search resolv.conf.local", "nameserver 1.1.1.1", "options ndots:3"]
