"""Rotation, the queue and its modes, and what is done with events that are too large."""

from __future__ import annotations

import asyncio
import gzip
import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter

from minikube_py.client.kubeconfig import Connection
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.components.apiserver.audit.batches import Batches, BatchSettings, WriteFailed
from minikube_py.components.apiserver.audit.file import AuditFile, FileSettings, legacy_line
from minikube_py.components.apiserver.audit.webhook import AuditWebhook, Sizes, batches, fitted
from minikube_py.components.apiserver.webhook_client import WebhookClient
from minikube_py.machinery.objects import Object

EVENT: dict[str, Any] = {
    "auditID": "1",
    "stage": "ResponseComplete",
    "verb": "get",
    "requestURI": "/api",
    "user": {"username": "alice", "groups": ["a", "b"]},
    "sourceIPs": ["127.0.0.1"],
    "stageTimestamp": "2026-01-01T00:00:00.000000Z",
    "responseStatus": {"code": 200},
}


def backups_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("audit-*"))


async def test_lines_are_json_in_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "audit.log"
    file = AuditFile(FileSettings(str(path)), FakeClock().now)
    await asyncio.to_thread(file.open)
    await file.write([EVENT, EVENT])
    assert [orjson.loads(line) for line in path.read_bytes().splitlines()] == [EVENT, EVENT]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("compress", [False, True])
async def test_rotation_by_size_and_number(tmp_path: Path, compress: bool) -> None:
    path, clock = tmp_path / "audit.log", FakeClock()
    file = AuditFile(FileSettings(str(path), max_backups=2, max_size_megabytes=1, compress=compress), clock.now)
    big = {"text": "x" * 700_000}
    for number in range(5):
        clock.jump(1)
        await file.write([{**big, "number": number}])
    backups = backups_in(tmp_path)
    assert orjson.loads(path.read_bytes())["number"] == 4
    opened = [gzip.decompress(b.read_bytes()) if compress else b.read_bytes() for b in backups]
    assert [orjson.loads(data)["number"] for data in opened] == [2, 3]
    assert {stat.S_IMODE(backup.stat().st_mode) for backup in backups} == {0o600}


async def test_rotation_by_age(tmp_path: Path) -> None:
    path, clock = tmp_path / "audit.log", FakeClock(time.time())
    old = tmp_path / "audit-2020-01-01T00-00-00.000.log"
    old.write_text("{}")
    os.utime(old, (clock.now() - 3 * 86_400,) * 2)
    file = AuditFile(FileSettings(str(path), max_age_days=2, max_size_megabytes=1), clock.now)
    for _ in range(2):
        await file.write([{"text": "x" * 700_000}])
    assert not old.exists()
    assert len(backups_in(tmp_path)) == 1


async def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WriteFailed, match="Is a directory"):
        await AuditFile(FileSettings(str(tmp_path)), FakeClock().now).write([EVENT])


def test_legacy_lines() -> None:
    line = legacy_line(EVENT).decode()
    assert line.startswith('2026-01-01T00:00:00.000000Z AUDIT: id="1" stage="ResponseComplete" ip="127.0.0.1"')
    assert 'groups="\\"a\\",\\"b\\"" as="<self>"' in line
    assert line.endswith('uri="/api" response="200"')


class Sink:
    """Writes nowhere; fails when told to."""

    def __init__(self) -> None:
        self.written: list[Sequence[Object]] = []
        self.failing = False

    async def write(self, events: Sequence[Object]) -> None:
        if self.failing:
            raise WriteFailed("disk full")
        self.written.append(list(events))


def errors() -> Counter:
    return Counter("apiserver_audit_error", "x", ("plugin",), registry=CollectorRegistry())


async def test_batches_gather_and_drop_when_full() -> None:
    sink, clock, lost = Sink(), FakeClock(), errors()
    queue = Batches(
        "log", sink.write, BatchSettings(blocking=False, buffer_size=3, most=2, wait_seconds=30), clock, lost
    )
    running = asyncio.create_task(queue.run())
    for number in range(5):
        assert queue.put({"n": number}) is None
    await clock.settle()
    assert [[event["n"] for event in batch] for batch in sink.written] == [[0, 1], [2]]
    assert lost.labels("log")._value.get() == 2
    queue.put({"n": 9})
    await clock.advance(29)
    assert len(sink.written) == 2
    await clock.advance(2)
    assert sink.written[-1] == [{"n": 9}]
    queue.put({"n": 10})
    running.cancel()
    await asyncio.wait({running})
    assert sink.written[-1] == [{"n": 10}]


async def test_blocking_waits_for_the_write_and_tells_failures() -> None:
    sink, clock, lost = Sink(), FakeClock(), errors()
    queue = Batches("log", sink.write, BatchSettings(blocking=True), clock, lost)
    running = asyncio.create_task(queue.run())
    written = queue.put({"n": 1})
    assert written is not None
    await written
    sink.failing = True
    refused = queue.put({"n": 2})
    assert refused is not None
    with pytest.raises(WriteFailed, match="disk full"):
        await refused
    sink.failing = False
    again = queue.put({"n": 3})
    assert again is not None
    await again
    assert lost.labels("log")._value.get() == 1
    running.cancel()
    await asyncio.wait({running})


async def test_what_is_being_written_at_the_end_is_written_and_what_comes_later_is_counted() -> None:
    begun, may_end, written = asyncio.Event(), asyncio.Event(), list[Any]()

    async def write(events: Sequence[Any]) -> None:
        begun.set()
        await may_end.wait()
        written.extend(events)

    clock, lost = FakeClock(), errors()
    queue = Batches("log", write, BatchSettings(blocking=False), clock, lost)
    running = asyncio.create_task(queue.run())
    queue.put({"n": 1})
    await begun.wait()
    queue.put({"n": 2})
    running.cancel()
    await asyncio.sleep(0)
    may_end.set()
    await asyncio.wait({running})
    assert written == [{"n": 1}, {"n": 2}]
    assert queue.put({"n": 3}) is None
    assert lost.labels("log")._value.get() == 1


def test_large_events_lose_their_objects_then_themselves() -> None:
    big = {"auditID": "1", "requestObject": {"x": "y" * 500}, "annotations": {"a": "b"}}
    assert fitted(big, 0)[0] is big
    short, size = fitted(big, 200)
    assert short == {"auditID": "1", "annotations": {"a": "b", "audit.k8s.io/truncated": "true"}}
    assert size <= 200
    assert fitted(big, 20) == (None, 0)


def test_batches_stay_below_their_size() -> None:
    events = [{"n": number, "pad": "x" * 80} for number in range(10)]
    made = batches(events, Sizes(most_batch=300))
    assert [event for batch in made for event in batch] == events
    assert all(len(orjson.dumps(batch)) <= 320 for batch in made)
    assert len(made) == 4


async def test_the_webhook_posts_lists_and_tells_failures(tmp_path: Path) -> None:
    """A real service on the loopback that takes the first list and refuses the next."""
    posted: list[Any] = []

    async def take(request: web.BaseRequest) -> web.Response:
        posted.append(orjson.loads(await request.read()))
        return web.Response(status=200 if len(posted) == 1 else 403)

    server = web.Server(take)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    client = WebhookClient(Connection(server=f"http://127.0.0.1:{port}/audit"), FakeClock())
    webhook = AuditWebhook(client, Sizes())
    await webhook.write([EVENT, EVENT])
    assert (posted[0]["kind"], posted[0]["apiVersion"]) == ("EventList", "audit.k8s.io/v1")
    assert posted[0]["items"] == [EVENT, EVENT]
    with pytest.raises(WriteFailed, match="answered with status 403"):
        await webhook.write([EVENT])
    await webhook.close()
    listening.close()
    await server.shutdown(0.1)
