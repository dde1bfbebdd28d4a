"""A worker's certificates: got, renewed, taken from new CAs, and never lost in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from joining_world import CLIENT_SIGNER, HOUR, SERVING_SIGNER, World, new_world, until

from minikube_py.joining.identity import (
    certificate_of,
    deadline,
    ensure_placeholder,
    finish_renewal,
    is_of,
    key_to_ask_with,
    load_facts,
    next_key,
    node_name_of,
    renewed,
    save_facts,
    serves,
)
from minikube_py.joining.renewal import NodeCertificates
from minikube_py.joining.requests import Wanted, obtain
from minikube_py.pki.files import write_file
from minikube_py.pki.inspection import Verdict, inspect_worker, is_worker

NODE, ADDRESS = "node-2", "192.0.2.2"


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """A worker that has just been given its client certificate."""
    made = await new_world(tmp_path)
    files = made.files
    await asyncio.to_thread(save_facts, files, made.facts())
    key = await asyncio.to_thread(key_to_ask_with, files.client)
    certificate = await obtain(made.client, Wanted(node_name=NODE), key)
    await asyncio.to_thread(renewed, files.client, certificate)
    await asyncio.to_thread(ensure_placeholder, files.serving, NODE, made.clock.now())
    made.asked.clear()
    return made


@asynccontextmanager
async def keeping(world: World) -> AsyncIterator[None]:
    component = NodeCertificates(world.client, world.files, NODE, ADDRESS, world.clock)
    ready = asyncio.Event()
    running = asyncio.ensure_future(component.run(ready.set))
    try:
        await ready.wait()
        yield
    finally:
        running.cancel()
        await asyncio.wait({running})


def has_serving(world: World) -> bool:
    found = certificate_of(world.files.serving)
    return found is not None and is_of(found, world.files.server_ca) and serves(found, NODE, ADDRESS)


async def test_serving_certificate_replaces_the_placeholder(world: World) -> None:
    before = await world.present()
    async with keeping(world):
        await until("a serving certificate", lambda: has_serving(world))
    assert world.asked == [SERVING_SIGNER]
    assert await world.present() == before, "a good certificate is left alone"


async def test_both_are_renewed_before_they_end(world: World) -> None:
    first = await world.present()
    assert first is not None
    async with keeping(world):
        await until("a serving certificate", lambda: has_serving(world))
        serving = await world.present(serving=True)
        for _ in range(23 * 6):  # less than the whole life of the certificates
            await world.pass_time(HOUR / 6)
        await until("renewal of the client's", lambda: certificate_of(world.files.client) not in (None, first))
        await until("renewal of the serving one", lambda: certificate_of(world.files.serving) not in (None, serving))
        await until("the client to show it", lambda: world.client.reloads)
    second = await world.present()
    assert second is not None and node_name_of(second) == NODE
    assert second.public_key() != first.public_key(), "with a new key"


async def test_new_authorities_are_taken_over_at_once(world: World) -> None:
    async with keeping(world):
        await until("a serving certificate", lambda: has_serving(world))
        world.rotate()
        await world.publish()

        def done() -> bool:
            client = certificate_of(world.files.client)
            return client is not None and is_of(client, world.files.client_ca) and has_serving(world)

        wanted = world.facts()
        await until("the new bundles", lambda: load_facts(world.files) == wanted)
        await until("certificates of the new CAs", done)
    assert sorted(world.asked[1:]) == [CLIENT_SIGNER, SERVING_SIGNER]
    assert world.files.server_ca.read_text() == wanted.server_ca
    assert world.client.reloads >= 2, "once for the bundle, once for the certificate"


async def test_refused_renewal_is_asked_again_with_another_key(world: World) -> None:
    world.denies = 2
    async with keeping(world):
        await until("the first refusal", lambda: world.asked)
        for _ in range(2):  # after one second, and after two more
            await world.pass_time(2.0)
        await until("a serving certificate", lambda: has_serving(world))
    assert world.asked == [SERVING_SIGNER] * 3


async def test_crash_between_certificate_and_key_loses_nothing(world: World) -> None:
    files, before = world.files, await world.present()
    key = await asyncio.to_thread(key_to_ask_with, files.client)
    certificate = await obtain(world.client, Wanted(node_name=NODE), key)
    assert await world.present() == before, "while it is asked for the old one serves"
    await asyncio.to_thread(write_file, files.client.certificate, certificate)  # and here the power fails
    assert await world.present() is None
    for _ in range(2):
        await asyncio.to_thread(finish_renewal, files.client)  # as the next start does
        found = await world.present()
        assert found is not None and found != before and not next_key(files.client).exists()


async def test_interrupted_request_is_found_again(world: World) -> None:
    keys = [await asyncio.to_thread(key_to_ask_with, world.files.client) for _ in range(2)]
    got = [await obtain(world.client, Wanted(node_name=NODE), key) for key in keys]
    assert got[0] == got[1]
    assert world.asked == [CLIENT_SIGNER]


@pytest.mark.parametrize("seconds", [60.0, 600.0, 24 * HOUR, 365 * 24 * HOUR])
async def test_deadline_lies_in_the_last_third_of_the_life(world: World, seconds: float) -> None:
    world.seconds = seconds
    key = await asyncio.to_thread(key_to_ask_with, world.files.client)
    await asyncio.to_thread(renewed, world.files.client, await obtain(world.client, Wanted(node_name=NODE), key))
    found = await world.present()
    assert found is not None
    assert 0.69 * seconds <= deadline(found) - world.clock.now() <= 0.91 * seconds


async def test_certificates_of_a_worker_are_shown(world: World) -> None:
    async with keeping(world):
        await until("a serving certificate", lambda: has_serving(world))
    assert await asyncio.to_thread(is_worker, world.folder)
    fresh = await asyncio.to_thread(inspect_worker, world.folder, world.clock.now() + HOUR)
    assert {one.verdict for one in fresh} == {Verdict.OK}
    found = await asyncio.to_thread(inspect_worker, world.folder, world.clock.now() + 20 * HOUR)
    shown = {one.file.name: (one.verdict, one.usages) for one in found}
    assert shown == {
        "client-kubelet.crt": (Verdict.WARNING, "ClientAuth"),
        "serving-kubelet.crt": (Verdict.WARNING, "ServerAuth"),
        "server-ca.crt": (Verdict.OK, "CertSign"),
        "client-ca.crt": (Verdict.OK, "CertSign"),
    }
    assert "the running agent renews it" in found[0].note
    late = await asyncio.to_thread(inspect_worker, world.folder, world.clock.now() + 48 * HOUR)
    assert [one.verdict for one in late[:2]] == [Verdict.EXPIRED] * 2
    await asyncio.to_thread(world.files.serving.key.unlink)
    broken = await asyncio.to_thread(inspect_worker, world.folder, world.clock.now())
    assert broken[1].verdict is Verdict.BROKEN
