"""Certificates through the years: a cluster that nobody looks after never shows an expired one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from pki_support import DAY, NOW, YEAR, ensure, ensure_with, is_known, leaf, verifies

from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.pki import PkiError
from minikube_py.pki.certificates import load_certificates
from minikube_py.pki.inspection import Verdict, inspect_certificates, next_renewal
from minikube_py.pki.renewal import Renewal


def test_thirty_years_without_a_restart(tmp_path: Path) -> None:
    """Renewed only when due; old and new peers understand each other over three successions of the CAs."""
    clock = FakeClock(NOW)
    pki = ensure_with(tmp_path, clock)
    server, client = pki.serving_kube_apiserver, pki.client_admin
    kept: dict[bytes, float] = {}  # what somebody who copied the bundle, or a kubeconfig, then holds
    clients: list[tuple[float, bytes]] = []
    successions = 0
    while clock.now() < NOW + 30 * YEAR:
        kept.setdefault(pki.server_ca.certificate.read_bytes(), clock.now())
        clients.append((leaf(client).not_valid_after_utc.timestamp(), client.certificate.read_bytes()))
        due = next_renewal(tmp_path)
        assert due > clock.now(), "a renewal that changes nothing"
        clock.jump(due - clock.now())
        renewed = ensure_with(tmp_path, clock)
        successions += "server-ca" in renewed.issued
        now, chain = clock.now(), server.certificate.read_bytes()
        assert all(one.is_usable for one in inspect_certificates(tmp_path, now))
        for bundle, copied in kept.items():
            roots_end = max(one.not_valid_after_utc.timestamp() for one in load_certificates(bundle))
            if now < roots_end:
                assert verifies(chain, bundle, now), f"a bundle of {copied} does not verify the server at {now}"
        current = pki.client_ca.certificate.read_bytes()
        for ends, shown in clients:
            assert is_known(shown, current, now) == (now < ends)
        clients = [(ends, shown) for ends, shown in clients if now < ends]
    assert successions == 3


@pytest.mark.parametrize("seconds", [60.0, 3600.0, 30 * DAY, YEAR, 3 * YEAR])
def test_a_leaf_is_renewed_in_the_last_third_of_its_life(tmp_path: Path, seconds: float) -> None:
    clock = FakeClock(NOW)
    pki = ensure_with(tmp_path, clock, leaf_seconds=seconds)
    assert leaf(pki.client_admin).not_valid_after_utc.timestamp() == pytest.approx(NOW + seconds, abs=1)
    margin = min(seconds / 3, 120 * DAY)
    assert next_renewal(tmp_path) == pytest.approx(NOW + seconds - margin, abs=1)
    verdicts = lambda now: {one.verdict for one in inspect_certificates(tmp_path, now)}  # noqa: E731
    assert verdicts(NOW + seconds - margin - 2) == {Verdict.OK}
    assert Verdict.WARNING in verdicts(NOW + seconds - margin + 2)
    clock.jump(seconds - margin - 2)
    assert ensure_with(tmp_path, clock, leaf_seconds=seconds).issued == ()
    clock.jump(4)
    assert len(ensure_with(tmp_path, clock, leaf_seconds=seconds).issued) == 9
    assert next_renewal(tmp_path) > clock.now()


def test_ended_root_leaves_the_bundle(tmp_path: Path) -> None:
    first = load_certificates(ensure(tmp_path).server_ca.certificate.read_bytes())[0]
    bundle = load_certificates(ensure(tmp_path, NOW + 9.2 * YEAR).server_ca.certificate.read_bytes())
    assert first in bundle and len(bundle) == 3
    after = load_certificates(ensure(tmp_path, NOW + 10.1 * YEAR).server_ca.certificate.read_bytes())
    assert after == bundle[:1]


def test_agents_find_the_succession_in_their_folder(tmp_path: Path) -> None:
    pki = ensure(tmp_path)
    ensure(tmp_path, NOW + 9.2 * YEAR)
    assert (tmp_path / "agent" / "server-ca.crt").read_bytes() == pki.server_ca.certificate.read_bytes()


async def until(condition: Callable[[], bool], clock: FakeClock) -> None:
    """Let threads and loop work; bounded, so that a failure does not hang."""
    async with asyncio.timeout(30):
        while not condition():
            await clock.settle()
            await asyncio.sleep(0.001)


async def test_running_server_renews_in_time(tmp_path: Path) -> None:
    clock = FakeClock(NOW)
    pki = await asyncio.to_thread(ensure_with, tmp_path, clock)
    renewal = Renewal(tmp_path, lambda: ensure_with(tmp_path, clock), pki.floor, clock, lambda: None)
    task = asyncio.create_task(renewal.run())
    before = (await asyncio.to_thread(leaf, pki.client_admin)).not_valid_after_utc
    await until(lambda: clock.sleepers == 1, clock)
    await clock.advance(244 * DAY)
    assert renewal.renewals == 0
    await clock.advance(2 * DAY)
    await until(lambda: renewal.renewals == 1, clock)
    assert (await asyncio.to_thread(leaf, pki.client_admin)).not_valid_after_utc > before
    assert float((tmp_path / "server" / "clock-floor").read_text()) >= NOW + 244 * DAY
    task.cancel()


async def test_clock_that_jumps_forward_is_noticed(tmp_path: Path) -> None:
    """A board that booted in 1970 gets the time from the network: what is due then is renewed at once."""
    await asyncio.to_thread(ensure, tmp_path)
    clock, told = FakeClock(100.0), asyncio.Event()
    pki = await asyncio.to_thread(ensure_with, tmp_path, clock)
    assert pki.floor.clock_is_behind and pki.issued == ()
    renewal = Renewal(tmp_path, lambda: ensure_with(tmp_path, clock), pki.floor, clock, told.set)
    task = asyncio.create_task(renewal.run())
    await until(lambda: clock.sleepers == 1, clock)
    clock._start = NOW + 300 * DAY
    await clock.advance(40)
    await until(lambda: renewal.renewals == 1, clock)
    assert told.is_set() and not pki.floor.report()
    found = await asyncio.to_thread(inspect_certificates, tmp_path, clock.now())
    assert all(one.verdict is Verdict.OK for one in found)
    task.cancel()


async def test_clock_that_goes_back_is_noticed(tmp_path: Path) -> None:
    """A server that started under a clock years ahead issues anew when the clock is put right."""
    await asyncio.to_thread(ensure, tmp_path)
    clock = FakeClock(NOW + 2 * YEAR)
    pki = await asyncio.to_thread(ensure_with, tmp_path, clock)
    renewal = Renewal(tmp_path, lambda: ensure_with(tmp_path, clock), pki.floor, clock, lambda: None)
    task = asyncio.create_task(renewal.run())
    await until(lambda: clock.sleepers == 1, clock)
    clock._start = NOW + DAY
    await clock.advance(700)
    await until(lambda: renewal.renewals == 1, clock)
    shown = await asyncio.to_thread(leaf, pki.serving_kube_apiserver)
    assert shown.not_valid_before_utc.timestamp() < clock.now()
    task.cancel()


async def test_failed_renewal_is_tried_again(tmp_path: Path) -> None:
    clock = FakeClock(NOW)
    pki = await asyncio.to_thread(ensure_with, tmp_path, clock)
    attempts: list[float] = []

    def fail() -> None:
        attempts.append(clock.now())
        if len(attempts) < 3:
            raise PkiError("the disk is full")
        ensure_with(tmp_path, clock)

    renewal = Renewal(tmp_path, fail, pki.floor, clock, lambda: None)
    task = asyncio.create_task(renewal.run())
    await until(lambda: clock.sleepers == 1, clock)
    await clock.advance(246 * DAY)
    for count in (1, 2):
        await until(lambda count=count: renewal.failures == count and clock.sleepers == 1, clock)
        await clock.advance(3600)
    await until(lambda: renewal.renewals == 1, clock)
    assert len(attempts) == 3
    task.cancel()


@pytest.mark.parametrize(
    ("days", "verdicts"),
    [(0, {Verdict.OK}), (300, {Verdict.OK, Verdict.WARNING}), (366, {Verdict.OK, Verdict.EXPIRED})],
)
def test_inspection_of_a_stopped_server(tmp_path: Path, days: int, verdicts: set[Verdict]) -> None:
    ensure(tmp_path)
    assert {one.verdict for one in inspect_certificates(tmp_path, NOW + days * DAY)} == verdicts
