"""What nodes are told: published once, corrected, read back, kept on disk; refusals of the first meeting."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from joining_world import NOW, new_world

from minikube_py.bootstrap_tokens import NODE_GROUP
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.config import ServerSettings
from minikube_py.config_agent import AgentSettings
from minikube_py.joining.bootstrap import Joined, join
from minikube_py.joining.cluster import (
    NAME,
    NAMESPACE,
    FactsUnreadable,
    facts_of,
    publish_facts,
    read_facts,
    told,
)
from minikube_py.joining.errors import JoinError
from minikube_py.joining.identity import key_to_ask_with, load_facts, node_files, renewed, save_facts
from minikube_py.machinery.objects import thaw
from minikube_py.machinery.resources import CONFIG_MAPS, ROLE_BINDINGS, ROLES
from minikube_py.pki.certificates import CLIENT_AUTH, Subject, ca_renew_before_seconds, certificate_pem, issue
from minikube_py.pki.join_tokens import JoinToken, ca_hash

URL = "https://127.0.0.1:1"
"""Nobody listens there."""
DAY = 24 * 3600.0


async def test_published_facts_are_corrected_and_nodes_may_read_them(tmp_path: Path) -> None:
    world = await new_world(tmp_path)
    await publish_facts(world.client, world.facts())
    other = replace(world.facts(), cluster_domain="example.org", disable=())
    await publish_facts(world.client, other)
    assert await read_facts(world.client) == other
    (role,), (binding,) = world.client.all(ROLES), world.client.all(ROLE_BINDINGS)
    assert role["rules"][0]["resourceNames"] == [NAME]
    assert [one["name"] for one in binding["subjects"]] == [NODE_GROUP, "system:nodes"]
    mine = thaw(binding) | {"subjects": []}
    await world.client.update(ROLE_BINDINGS, mine, NAMESPACE)
    await publish_facts(world.client, other)
    assert world.client.all(ROLE_BINDINGS)[0]["subjects"] == [], "an administrator's own word stands"
    writes = len(world.client.actions)
    await publish_facts(world.client, other)
    assert len(world.client.actions) == writes, "nothing is written when all is there"


async def test_facts_of_an_older_server(tmp_path: Path) -> None:
    world = await new_world(tmp_path)
    data = dict(world.client.one(CONFIG_MAPS, NAME, NAMESPACE)["data"])
    del data["cluster-dns"]
    with pytest.raises(FactsUnreadable, match="lacks cluster-dns"):
        facts_of(data)


async def test_settings_with_what_was_told(tmp_path: Path) -> None:
    facts = (await new_world(tmp_path)).facts()
    node = told(ServerSettings(max_pods=7, data_dir="/d"), "node-2", facts)
    assert (node.node_name, node.max_pods, node.disable, node.cluster_dns) == ("node-2", 7, ("dns",), "10.43.0.10")


@pytest.fixture
def member(tmp_path: Path) -> tuple[Path, str, str]:
    """A folder of a worker that has joined as node-2 for a day; the token of its cluster, and that of another."""
    from minikube_py.joining.cluster import ClusterFacts
    from minikube_py.pki.certificates import make_authority

    files, authority = node_files(tmp_path), make_authority("client-ca", NOW)
    own, other = (certificate_pem(make_authority(name, NOW).certificate) for name in ("server-ca", "other-ca"))
    facts = ClusterFacts(
        cluster_cidr="10.42.0.0/16", service_cidr="10.43.0.0/16", cluster_dns="10.43.0.10", disable=(),
        cluster_domain="cluster.local", flannel_backend="vxlan", server_ca=own.decode(), client_ca="client CA",
    )  # fmt: skip
    save_facts(files, facts)
    key = key_to_ask_with(files.client)
    subject = Subject(common_name="system:node:node-2", organizations=("system:nodes",))
    leaf = issue(authority, subject, key.public_key(), [CLIENT_AUTH], NOW, DAY)  # type: ignore[arg-type]
    renewed(files.client, certificate_pem(leaf))
    return tmp_path, str(JoinToken("s", "node", ca_hash(own))), str(JoinToken("s", "node", ca_hash(other)))


async def test_member_needs_neither_token_nor_server(member: tuple[Path, str, str]) -> None:
    files = node_files(member[0])
    facts = await asyncio.to_thread(load_facts, files)
    assert facts is not None
    for settings in (
        AgentSettings(server=URL),
        AgentSettings(server=URL, node_name="Node-2"),
        AgentSettings(server=URL, token=member[1]),
        AgentSettings(server=URL, token=member[2]),  # a stale token is of no weight
    ):
        assert await join(settings, files, FakeClock(NOW + DAY / 2)) == Joined("node-2", facts)


async def test_member_of_something_else_is_told(member: tuple[Path, str, str]) -> None:
    files = node_files(member[0])
    for settings, now, says in (
        (AgentSettings(server=URL, node_name="node-3"), NOW, "this host is the node node-2"),
        (AgentSettings(server=URL), NOW + DAY + 1, "delete node node-2"),
        (AgentSettings(server=URL), NOW + ca_renew_before_seconds, "this node's certificate ended on"),
    ):
        with pytest.raises(JoinError) as caught:
            await join(settings, files, FakeClock(now))
        assert says in str(caught.value) and "\n" not in str(caught.value)


async def test_server_and_token_of_another_cluster(member: tuple[Path, str, str], tmp_path: Path) -> None:
    """A host that was meant to move is told; one that meets a stranger by chance starts with what it knows."""
    from minikube_py.pki import certificates as x

    def context() -> ssl.SSLContext:
        key = x.new_key()
        stranger = x.make_authority("other-ca", NOW)
        subject = x.Subject(common_name="s", addresses=("127.0.0.1",))
        leaf = x.issue(stranger, subject, key.public_key(), [x.SERVER_AUTH], NOW)
        (tmp_path / "s.crt").write_bytes(x.certificate_pem(leaf))
        (tmp_path / "s.key").write_bytes(x.key_pem(key))
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(tmp_path / "s.crt", tmp_path / "s.key")
        return made

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=await asyncio.to_thread(context))
    url, files = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", node_files(member[0])
    async with server:
        for token in ("", member[1]):
            found = await join(AgentSettings(server=url, token=token), files, FakeClock(NOW))
            assert found.node_name == "node-2"
        with pytest.raises(JoinError, match="belongs to another cluster than https://127"):
            await join(AgentSettings(server=url, token=member[2]), files, FakeClock(NOW))


async def test_stranger_needs_a_token(tmp_path: Path) -> None:
    with pytest.raises(JoinError, match="--token is missing"):
        await join(AgentSettings(server=URL), node_files(tmp_path), FakeClock(NOW))
