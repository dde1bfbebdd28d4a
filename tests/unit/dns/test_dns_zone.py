"""Names and records of the cluster zone, and the messages around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import pytest

from minikube_py.client.types import Handler
from minikube_py.components.dns import messages
from minikube_py.components.dns.zone import Zone
from minikube_py.machinery.objects import Object, name_of, namespace_of


class Fixed:
    """An informer over objects that never change."""

    def __init__(self, *objects: Object) -> None:
        self._objects = objects
        self._indexes: dict[str, Callable[[Object], Sequence[str]]] = {}

    def get(self, name: str, namespace: str | None = None) -> Object | None:
        return next((o for o in self._objects if name_of(o) == name and namespace_of(o) == (namespace or "")), None)

    def list(self, namespace: str | None = None) -> Sequence[Object]:
        return [o for o in self._objects if namespace is None or namespace_of(o) == namespace]

    def by_index(self, index: str, value: str) -> Sequence[Object]:
        return [o for o in self._objects if value in self._indexes[index](o)]

    def add_index(self, index: str, values: Callable[[Object], Sequence[str]]) -> None:
        self._indexes[index] = values

    def subscribe(self, handler: Handler) -> Callable[[], None]:
        raise AssertionError("the zone only reads")

    async def synced(self) -> None: ...


def service(name: str, **spec: Any) -> Object:
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": {"ports": ports, **spec}}


SLICE: Object = {
    "metadata": {"name": "db-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "db"}},
    "addressType": "IPv4",
    "ports": [{"name": "pg", "port": 5432, "protocol": "TCP"}],
    "endpoints": [
        {"addresses": ["10.42.0.5"], "hostname": "db-0", "conditions": {"ready": True}},
        {"addresses": ["10.42.0.6"], "conditions": {"ready": True}},
        {"addresses": ["10.42.0.7"], "conditions": {"ready": False}},
    ],
}

ZONE = Zone(
    "cluster.local",
    Fixed(
        service("web", clusterIP="10.43.0.9", clusterIPs=["10.43.0.9"]),
        service("db", clusterIP="None"),
        service("empty", clusterIP="None"),
        service("other", type="ExternalName", externalName="example.org"),
        service("alias", type="ExternalName", externalName="second.shop.svc.cluster.local"),
        service("second", type="ExternalName", externalName="web.shop.svc.cluster.local"),
        service("lost", type="ExternalName", externalName="nope.shop.svc.cluster.local"),
        service("round", type="ExternalName", externalName="round.shop.svc.cluster.local"),
    ),
    Fixed(SLICE),
)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        pytest.param("web.shop.svc", "A", ["10.43.0.9"], id="cluster IP"),
        pytest.param("web.shop.svc", "AAAA", [], id="no IPv6: no data"),
        pytest.param("nope.shop.svc", "A", None, id="unknown service"),
        pytest.param("shop.svc", "A", [], id="namespace alone"),
        pytest.param("void.svc", "A", None, id="unknown namespace"),
        pytest.param("db.shop.svc", "A", ["10.42.0.5", "10.42.0.6"], id="headless: ready endpoints"),
        pytest.param("empty.shop.svc", "A", None, id="headless without endpoints"),
        pytest.param("db-0.db.shop.svc", "A", ["10.42.0.5"], id="endpoint by hostname"),
        pytest.param("10-42-0-6.db.shop.svc", "A", ["10.42.0.6"], id="endpoint by dashed address"),
        pytest.param("db-9.db.shop.svc", "A", None, id="unknown endpoint"),
        pytest.param("_http._tcp.web.shop.svc", "SRV", ["0 100 80 web.shop.svc.cluster.local."], id="SRV"),
        pytest.param("_pg._udp.db.shop.svc", "SRV", None, id="SRV of the wrong protocol"),
        pytest.param(
            "_pg._tcp.db.shop.svc", "SRV",
            ["0 100 5432 db-0.db.shop.svc.cluster.local.", "0 100 5432 10-42-0-6.db.shop.svc.cluster.local."],
            id="SRV of a headless service",
        ),
        pytest.param("other.shop.svc", "A", ["example.org."], id="ExternalName is a CNAME"),
        pytest.param("10-42-0-5.shop.pod", "A", ["10.42.0.5"], id="pod by address"),
        pytest.param("zz.shop.pod", "A", None, id="pod that is no address"),
        pytest.param("dns-version", "TXT", ['"1.1.0"'], id="schema version"),
        pytest.param("nonsense", "A", None, id="nothing of ours"),
    ],
)  # fmt: skip
def test_lookup(name: str, kind: str, expected: list[str] | None) -> None:
    found = ZONE.lookup(f"{name}.cluster.local", kind)
    assert (None if found is None else [record.data for record in found]) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        pytest.param("10.43.0.9", ["web.shop.svc.cluster.local."], id="service"),
        pytest.param("10.42.0.5", ["db-0.db.shop.svc.cluster.local."], id="named endpoint"),
        pytest.param("10.42.9.9", None, id="unknown"),
    ],
)
def test_reverse(address: str, expected: list[str] | None) -> None:
    found = ZONE.reverse(address, "x")
    assert (None if found is None else [record.data for record in found]) == expected


def ask(name: str, kind: str = "A") -> dns.message.Message | None:
    return messages.answer(messages.parse(dns.message.make_query(name, kind).to_wire()), ZONE)


@pytest.mark.parametrize(
    ("name", "kind", "last", "outside"),
    [
        pytest.param("alias", "A", "10.43.0.9", None, id="to the end"),
        pytest.param("alias", "CNAME", "second.shop.svc.cluster.local.", None, id="the alias itself is asked for"),
        pytest.param("alias", "AAAA", "web.shop.svc.cluster.local.", None, id="no such address"),
        pytest.param("lost", "A", "nope.shop.svc.cluster.local.", None, id="to nothing"),
        pytest.param("round", "A", "round.shop.svc.cluster.local.", None, id="to itself"),
        pytest.param("other", "A", "example.org.", "example.org.", id="out of the zone"),
        pytest.param("web", "A", "10.43.0.9", None, id="no alias"),
    ],
)
def test_aliases_are_followed(name: str, kind: str, last: str, outside: str | None) -> None:
    reply = ask(f"{name}.shop.svc.cluster.local.", kind)
    assert reply is not None
    left = messages.follow_alias(reply, ZONE)
    assert (None if left is None else left.to_text()) == outside
    assert reply.answer[-1][0].to_text() == last
    assert len(reply.answer) <= messages.most_aliases + 1


def test_answers_are_authoritative_and_keep_the_spelling() -> None:
    reply = ask("WEB.shop.svc.Cluster.Local.")
    assert reply is not None
    assert reply.flags & dns.flags.AA
    assert reply.answer[0].to_text().split()[0] == "WEB.shop.svc.Cluster.Local."


def test_missing_names_carry_the_start_of_authority() -> None:
    reply = ask("nope.shop.svc.cluster.local.")
    assert reply is not None
    assert reply.rcode() == dns.rcode.NXDOMAIN
    assert reply.authority[0].to_text().startswith("cluster.local. 5 IN SOA")


def test_foreign_names_are_not_ours() -> None:
    assert ask("example.org.") is None
    assert ask("9.9.42.10.in-addr.arpa.", "PTR") is None


def test_large_answers_are_truncated_over_udp() -> None:
    endpoints = [{"addresses": [f"10.42.1.{i}"], "conditions": {}} for i in range(1, 200)]
    zone = Zone("cluster.local", Fixed(service("db", clusterIP="None")), Fixed({**SLICE, "endpoints": endpoints}))
    query = messages.parse(dns.message.make_query("db.shop.svc.cluster.local.", "A").to_wire())
    reply = messages.answer(query, zone)
    assert reply is not None
    assert dns.message.from_wire(messages.to_wire(reply, query, udp=True)).flags & dns.flags.TC
    assert len(dns.message.from_wire(messages.to_wire(reply, query, udp=False)).answer[0]) == 199


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x00" * 5, id="too short"),
        pytest.param(b"\xff" * 40, id="noise"),
        pytest.param(dns.message.make_response(dns.message.make_query("a.", "A")).to_wire(), id="an answer"),
    ],
)
def test_bad_queries(data: bytes) -> None:
    with pytest.raises(messages.BadQuery):
        messages.parse(data)
