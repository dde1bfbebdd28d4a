"""sig-network conformance: traffic to pods, Services and ports of the node; the proxy of the API server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cluster import NODE_IP, Cluster, wait_until
from conformance_api import MERGE, Api
from conformance_pods import create, ready, status
from conformance_server import ask, ask_from_pod, ask_udp, ask_udp_from_pod, from_pod, server_pod

METHODS = ("GET", "PUT", "POST", "PATCH", "DELETE", "OPTIONS")


def service(name: str, **spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return {"metadata": {"name": name}, "spec": {"selector": {"app": "web"}, "ports": ports, **spec}}


def host_port_pod(name: str, **port: Any) -> dict[str, Any]:
    return server_pod(name, container={"ports": [{"containerPort": 8080, "hostPort": 54323, **port}]})


@pytest.fixture(scope="module")
def net(api: Api, ground: str) -> str:
    """Two servers behind each Service with the label app=web, three with a port of the node, one client."""
    create(api, ground, [
        server_pod("web-1", labels={"app": "web"}), server_pod("web-2", labels={"app": "web"}),
        host_port_pod("host-1", hostIP="127.0.0.1"), host_port_pod("host-2", hostIP=NODE_IP),
        host_port_pod("host-3", hostIP=NODE_IP, protocol="UDP"),
    ])  # fmt: skip
    ready(api, ground, "web-1", "web-2", "host-1", "host-2", "host-3")
    return ground


def made(api: Api, net: str, body: dict[str, Any]) -> tuple[str, int]:
    """The Service's address and first node port (0: none), once its slice has both servers."""
    name = body["metadata"]["name"]
    spec = api("POST", f"{net}/services", body)["spec"]
    wait_until("two endpoints", lambda: len(addresses(api, net, name)) == 2)
    return spec.get("clusterIP", ""), spec.get("ports", [{}])[0].get("nodePort", 0)


def slices(api: Api, net: str, name: str) -> list[dict[str, Any]]:
    path = net.replace("/api/v1/", "/apis/discovery.k8s.io/v1/") + "/endpointslices"
    return list(api("GET", f"{path}?labelSelector=kubernetes.io/service-name%3D{name}")["items"])


def addresses(api: Api, net: str, name: str) -> set[str]:
    return {one for found in slices(api, net, name) for end in found["endpoints"] or () for one in end["addresses"]}


def answers(asking: Callable[[], str], wanted: set[str], *, seconds: float = 60) -> None:
    """Asks until every one of ``wanted`` has answered."""
    seen: set[str] = set()

    def more() -> bool:
        seen.add(asking().strip())
        return wanted <= seen

    wait_until(f"answers of {wanted}, had {seen}", more, seconds=seconds, every=0.05)


def test_pods_and_the_node_reach_pods(cluster: Cluster, api: Api, net: str) -> None:
    address = status(api, net, "web-2")["podIP"]
    assert ask(cluster, address, 8080) == ask_from_pod(cluster, net, "web-1", address, 8080) == "web-2"
    assert ask_udp(cluster, address, 8081) == ask_udp_from_pod(cluster, net, "web-1", address, 8081) == "web-2"


def test_one_host_port_for_different_addresses_and_protocols(cluster: Cluster, api: Api, net: str) -> None:
    wait_until("host-1 answers", lambda: ask(cluster, "127.0.0.1", 54323) == "host-1")
    wait_until("host-2 answers", lambda: ask(cluster, NODE_IP, 54323) == "host-2")
    wait_until("host-3 answers", lambda: ask_udp(cluster, NODE_IP, 54323) == "host-3")


def test_ports_of_a_service_and_a_node_port(cluster: Cluster, api: Api, net: str) -> None:
    """Several ports, one of them with two protocols; from the node, from pods, over a node port."""
    ports = [
        {"name": "http", "port": 80, "targetPort": 8080}, {"name": "more", "port": 81, "targetPort": 8081},
        {"name": "datagrams", "port": 80, "targetPort": 8080, "protocol": "UDP"},
    ]  # fmt: skip
    address, node_port = made(api, net, service("ports", type="NodePort", ports=ports))
    both = {"web-1", "web-2"}
    for port in (80, 81):
        answers(lambda port=port: ask(cluster, address, port), both)
    answers(lambda: ask_udp(cluster, address, 80), both)
    answers(lambda: ask(cluster, NODE_IP, node_port), both)
    answers(lambda: ask_from_pod(cluster, net, "host-1", address), both)
    answers(lambda: ask_udp_from_pod(cluster, net, "host-1", address, 80), both)


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort"])
def test_session_affinity_is_kept_and_switched(cluster: Cluster, api: Api, net: str, kind: str) -> None:
    name = f"sticky-{kind.lower()}"
    address, port = made(api, net, service(name, type=kind, sessionAffinity="ClientIP"))
    where = (address, 80) if kind == "ClusterIP" else (NODE_IP, port)

    def asked(times: int) -> set[str]:
        script = f"for n in $(seq {times}); do timeout 10 wget -qO- http://{where[0]}:{where[1]}/; echo; done"
        return {*from_pod(cluster, net, "host-1", "sh", "-c", script).split()} & {"web-1", "web-2"}

    wait_until("an answer", lambda: asked(1))
    assert len(asked(20)) == 1
    api("PATCH", f"{net}/services/{name}", {"spec": {"sessionAffinity": "None"}}, media_type=MERGE)
    answers(lambda: ask_from_pod(cluster, net, "host-1", *where), {"web-1", "web-2"})
    api("PATCH", f"{net}/services/{name}", {"spec": {"sessionAffinity": "ClientIP"}}, media_type=MERGE)
    wait_until("affinity again", lambda: len(asked(20)) == 1)


def test_the_type_of_a_service_changes(cluster: Cluster, api: Api, net: str) -> None:
    """ExternalName becomes ClusterIP and NodePort, and these become ExternalName."""
    made(api, net, service("target"))
    domain = f"target.{net.rsplit('/', 1)[1]}.svc.cluster.local"
    external = {"type": "ExternalName", "externalName": domain, "clusterIP": None, "clusterIPs": None, "selector": None}
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    for kind in ("ClusterIP", "NodePort"):
        name = f"changes-{kind.lower()}"
        api(
            "POST",
            f"{net}/services",
            {"metadata": {"name": name}, "spec": {"type": "ExternalName", "externalName": domain}},
        )
        inside = {"type": kind, "externalName": None, "selector": {"app": "web"}, "ports": ports}
        spec = api("PATCH", f"{net}/services/{name}", {"spec": inside}, media_type=MERGE)["spec"]
        answers(lambda spec=spec: ask(cluster, spec["clusterIP"]), {"web-1", "web-2"})
        if kind == "NodePort":
            answers(lambda spec=spec: ask(cluster, NODE_IP, spec["ports"][0]["nodePort"]), {"web-1", "web-2"})
        away = api("PATCH", f"{net}/services/{name}", {"spec": external}, media_type=MERGE)["spec"]
        assert "clusterIP" not in away or not away["clusterIP"]
        answers(lambda name=name: ask_from_pod(cluster, net, "host-1", name), {"web-1", "web-2"})


def test_endpoints_come_and_go_with_pods(api: Api, core: str) -> None:
    """Endpoints and EndpointSlices of a Service follow its pods, also while none is there."""
    api("POST", f"{core}/services", service("follow"))
    wait_until("an empty slice", lambda: [found["endpoints"] or [] for found in slices(api, core, "follow")] == [[]])
    wait_until("Endpoints", lambda: not api.gone(f"{core}/endpoints/follow"))
    assert "subsets" not in api("GET", f"{core}/endpoints/follow")

    def follows(count: int) -> None:
        def same() -> bool:
            subsets = api("GET", f"{core}/endpoints/follow").get("subsets") or []
            listed = {one["ip"] for part in subsets for one in part.get("addresses") or ()}
            return len(listed) == count and listed == addresses(api, core, "follow")

        wait_until(f"{count} endpoints", same)

    create(api, core, [server_pod(name, labels={"app": "web"}) for name in ("a", "b")])
    ready(api, core, "a", "b")
    follows(2)
    api("DELETE", f"{core}/pods/a")
    follows(1)
    api("DELETE", f"{core}/pods/b")
    follows(0)
    api("DELETE", f"{core}/services/follow")
    wait_until("no slices", lambda: not slices(api, core, "follow"))
    wait_until("no Endpoints", lambda: api.gone(f"{core}/endpoints/follow"))


@pytest.mark.parametrize("several", ["addresses", "ports"])
def test_slices_that_somebody_else_writes(cluster: Cluster, api: Api, net: str, several: str) -> None:
    """A Service without a selector serves what several slices say."""
    name, path = f"own-{several}", net.replace("/api/v1/", "/apis/discovery.k8s.io/v1/") + "/endpointslices"
    ports = [{"name": "one", "port": 80, "targetPort": 8080}, {"name": "two", "port": 81, "targetPort": 8081}]
    address = api("POST", f"{net}/services", service(name, selector=None, ports=ports))["spec"]["clusterIP"]
    ends = [status(api, net, pod)["podIP"] for pod in ("web-1", "web-2")]
    both = [{"name": "one", "port": 8080}, {"name": "two", "port": 8081}]
    parts = [(ends, [port]) for port in both] if several == "ports" else [([end], both) for end in ends]
    for number, (listed, found) in enumerate(parts):
        api("POST", path, {
            "metadata": {"name": f"{name}-{number}", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "endpoints": [{"addresses": [end]} for end in listed],
            "ports": [{**port, "protocol": "TCP"} for port in found],
        })  # fmt: skip
    for port in (80, 81):
        answers(lambda port=port: ask(cluster, address, port), {"web-1", "web-2"})


def test_custom_endpoints_are_mirrored(api: Api, core: str) -> None:
    api("POST", f"{core}/services", service("mirror", selector=None))
    subsets = [{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}]
    api("POST", f"{core}/endpoints", {"metadata": {"name": "mirror"}, "subsets": subsets})
    wait_until("a mirrored slice", lambda: addresses(api, core, "mirror") == {"10.1.2.3"})
    assert slices(api, core, "mirror")[0]["ports"][0]["port"] == 80
    subsets[0]["addresses"] = [{"ip": "10.2.3.4"}]
    api("PATCH", f"{core}/endpoints/mirror", {"subsets": subsets}, media_type=MERGE)
    wait_until("the changed slice", lambda: addresses(api, core, "mirror") == {"10.2.3.4"})
    api("DELETE", f"{core}/endpoints/mirror")
    wait_until("no slice", lambda: not slices(api, core, "mirror"))


def test_many_services_get_their_endpoints(api: Api, net: str) -> None:
    names = [f"quick-{number}" for number in range(20)]
    for name in names:
        api("POST", f"{net}/services", service(name))
    for name in names:
        wait_until(f"endpoints of {name}", lambda name=name: len(addresses(api, net, name)) == 2)


def test_the_api_server_is_a_service(api: Api) -> None:
    default = "/api/v1/namespaces/default"
    spec = api("GET", f"{default}/services/kubernetes")["spec"]
    assert [(port["name"], port["port"]) for port in spec["ports"]] == [("https", 443)]
    subsets = api("GET", f"{default}/endpoints/kubernetes")["subsets"]
    listed = {one["ip"] for part in subsets for one in part["addresses"]}
    assert listed == addresses(api, default, "kubernetes") == {NODE_IP}


def test_the_api_servers_proxy_to_pods_and_services(api: Api, net: str) -> None:
    made(api, net, service("proxied"))
    places = (
        "pods/web-1:8080",
        "pods/http:web-1:8080",
        "services/proxied:80",
        "services/http:proxied:http",
        "services/proxied",
    )
    for place in places:
        for method in METHODS:
            code, _, body = api.exchange(
                method, f"{net}/{place}/proxy/echo/it?method={method}", "" if method[0] == "P" else None
            )
            assert (code, body.decode()) == (200, f"{method} /echo/it?method={method}"), place
        code, _, body = api.exchange("HEAD", f"{net}/{place}/proxy/echo/it")
        assert (code, body) == (200, b""), place
        code, _, body = api.exchange("GET", f"{net}/{place}/proxy/")
        assert code == 200 and body.decode() in ("web-1", "web-2"), place
    code, headers, _ = api.exchange("GET", f"{net}/pods/web-1:8080/proxy")
    assert code == 301 and headers["Location"].endswith("/proxy/")
