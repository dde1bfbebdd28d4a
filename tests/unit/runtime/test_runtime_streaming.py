"""SPDY framing and connections, the log format, tails, and following a log through rotation."""

from __future__ import annotations

import asyncio
import io
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.components.kubelet.streaming.channels import dialect_of, status_text
from minikube_py.components.kubelet.streaming.log_format import LogView, comparable_time, parse_line
from minikube_py.components.kubelet.streaming.logs import LogOptions, log_options, seek_tail, serve_logs
from minikube_py.components.kubelet.streaming.spdy import DICTIONARY, Decoder, Encoder, Frame, Kind, SpdyError
from minikube_py.components.kubelet.streaming.spdy_client import SpdyConnection


def test_the_header_dictionary_is_spdys() -> None:
    assert len(DICTIONARY) == 1423 and zlib.adler32(DICTIONARY) == 0xE3C6A7C2


_headers = st.dictionaries(st.from_regex(r"[a-z\-]{1,12}", fullmatch=True), st.text(max_size=30), max_size=4)
_frames = st.one_of(
    st.builds(
        Frame, st.just(Kind.DATA), st.integers(1, 2**31 - 1), st.booleans(), st.binary(max_size=200), st.just(None)
    ),
    st.builds(Frame, st.just(Kind.SYN_STREAM), st.integers(1, 99), st.booleans(), st.just(b""), _headers),
    st.builds(Frame, st.just(Kind.SYN_REPLY), st.integers(1, 99), st.just(False), st.just(b""), _headers),
    st.builds(Frame, st.just(Kind.RST_STREAM), st.integers(1, 99), number=st.integers(0, 11)),
    st.builds(Frame, st.just(Kind.PING), number=st.integers(0, 2**32 - 1)),
)


@given(st.lists(_frames, max_size=8), st.integers(1, 50))
def test_frames_survive_the_wire_however_it_is_cut(frames: list[Frame], piece: int) -> None:
    encoder, decoder = Encoder(), Decoder()
    wire = b"".join(encoder.encode(frame) for frame in frames)
    seen: list[Frame] = []
    for start in range(0, len(wire), piece):
        seen += decoder.feed(wire[start : start + piece])
    assert seen == frames


def test_damaged_control_frames_are_refused() -> None:
    with pytest.raises(SpdyError):
        list(Decoder().feed(b"\x80\x03\x00\x01\x00\x00\x00\x0c" + bytes(12)))


class _Pipe:
    """One end of an in-memory connection."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[bytes] = asyncio.Queue()
        self.peer: _Pipe | None = None

    async def read(self) -> bytes:
        return await self.incoming.get()

    async def write(self, data: bytes) -> None:
        assert self.peer is not None
        self.peer.incoming.put_nowait(data)

    async def close(self) -> None:
        await self.write(b"")


async def _echo(pipe: _Pipe, refuse: str = "") -> None:
    """A peer that accepts streams, sends data back in upper case and resets those called ``refuse``."""
    encoder, decoder = Encoder(), Decoder()
    while data := await pipe.read():
        for frame in decoder.feed(data):
            if frame.kind is Kind.SYN_STREAM:
                name = (frame.headers or {}).get("streamtype", "")
                kind = Kind.RST_STREAM if name == refuse else Kind.SYN_REPLY
                await pipe.write(encoder.encode(Frame(kind, frame.stream_id, headers={})))
            elif frame.kind is Kind.DATA:
                answer = Frame(Kind.DATA, frame.stream_id, frame.fin, frame.data.upper())
                await pipe.write(encoder.encode(answer))


async def test_streams_carry_data_and_end() -> None:
    ours, theirs = _Pipe(), _Pipe()
    ours.peer, theirs.peer = theirs, ours
    async with asyncio.TaskGroup() as group:
        group.create_task(_echo(theirs, refuse="bad"))
        async with SpdyConnection(ours) as connection:
            one, two = await connection.open({"streamType": "a"}), await connection.open({"streamType": "b"})
            await one.write(b"one")
            await two.write(b"two")
            assert (await one.read(), await two.read()) == (b"ONE", b"TWO")
            await one.close()
            assert await one.read() == b"" and await one.read() == b""
            with pytest.raises(SpdyError, match="refused"):
                await connection.open({"streamType": "bad"})
            theirs.peer.incoming.put_nowait(b"")  # the peer goes
            assert await two.read() == b""


@pytest.mark.parametrize(
    ("raw", "content", "partial"),
    [
        pytest.param(b"2026-01-01T00:00:00.5Z stdout F hello world\n", b"hello world\n", False, id="full"),
        pytest.param(b"2026-01-01T00:00:00.5Z stderr P piece\n", b"piece", True, id="partial"),
        pytest.param(b"2026-01-01T00:00:00.5Z stdout F \n", b"\n", False, id="empty"),
        pytest.param(b"2026-01-01T00:00:00.5Z stdout P:x piece\n", b"piece", True, id="further tags"),
    ],
)
def test_lines(raw: bytes, content: bytes, partial: bool) -> None:
    line = parse_line(raw)
    assert line is not None and (line.content, line.partial) == (content, partial)


def test_what_is_not_in_the_format_is_no_line() -> None:
    assert parse_line(b"garbage\n") is None and parse_line(b"a b c d\n") is None


_LINES = [
    b"2026-01-01T00:00:00.1Z stdout F one\n",
    b"2026-01-01T00:00:01Z stderr P two-\n",
    b"2026-01-01T00:00:01.000000001Z stderr F half\n",
    b"2026-01-01T00:00:02.25Z stdout F three\n",
]


@pytest.mark.parametrize(
    ("view", "shown"),
    [
        pytest.param(LogView(), b"one\ntwo-half\nthree\n", id="all"),
        pytest.param(
            LogView(timestamps=True),
            b"2026-01-01T00:00:00.1Z one\n2026-01-01T00:00:01Z two-half\n2026-01-01T00:00:02.25Z three\n",
            id="time stamps, one for a line in pieces",
        ),
        pytest.param(LogView(since=comparable_time(b"2026-01-01T00:00:02.2Z")), b"three\n", id="since"),
        pytest.param(LogView(stream=b"stdout"), b"one\nthree\n", id="one stream"),
        pytest.param(LogView(remaining_bytes=6), b"one\ntw", id="limit"),
    ],
)
def test_views(view: LogView, shown: bytes) -> None:
    assert b"".join(view.show(raw) for raw in _LINES) == shown


@given(st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=30), st.integers(0, 40))
def test_the_tail_is_the_last_lines(lines: list[bytes], count: int) -> None:
    file = io.BytesIO(b"".join(line + b"\n" for line in lines))
    seek_tail(file, count)
    expected = lines[len(lines) - count :] if count < len(lines) else lines
    assert file.read() == b"".join(line + b"\n" for line in expected)


@pytest.mark.parametrize(
    ("query", "options"),
    [
        pytest.param({}, LogOptions(), id="nothing asked"),
        pytest.param({"follow": "true", "timestamps": "1"}, LogOptions(follow=True, timestamps=True), id="flags"),
        pytest.param({"tailLines": "0", "limitBytes": "9"}, LogOptions(tail_lines=0, limit_bytes=9), id="numbers"),
        pytest.param({"sinceTime": "2026-01-01T00:00:00Z"}, LogOptions(since_seconds=1767225600.0), id="since a time"),
        pytest.param({"sinceSeconds": "5"}, LogOptions(since_seconds=1_799_999_995.0), id="since seconds ago"),
        pytest.param({"stream": "Stderr"}, LogOptions(stream="stderr"), id="stream"),
    ],
)
def test_options(query: dict[str, str], options: LogOptions) -> None:
    assert log_options(query, FakeClock()) == options


@pytest.mark.parametrize(
    "query",
    [
        {"tailLines": "-1"},
        {"tailLines": "x"},
        {"limitBytes": "0"},
        {"sinceTime": "yesterday"},
        {"stream": "stdwhat"},
        {"sinceTime": "2026-01-01T00:00:00Z", "sinceSeconds": "5"},
    ],
    ids=str,
)
def test_bad_options_are_refused(query: dict[str, str]) -> None:
    with pytest.raises(web.HTTPBadRequest):
        log_options(query, FakeClock())


class Site:
    """Serves the log of one container that ends when told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.over = asyncio.Event()
        self.left = asyncio.Event()
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        async def ended() -> None:
            await self.over.wait()

        try:
            return await serve_logs(request, self.path, log_options(request.query, FakeClock()), ended=ended)
        finally:
            self.left.set()

    def write(self, *lines: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(b"".join(lines))


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path / "0.log")
    app = web.Application()
    app.router.add_get("/", site.handle)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield site
    await runner.cleanup()


async def test_following_shows_new_lines_survives_rotation_and_ends_with_the_container(site: Site) -> None:
    site.write(*_LINES)
    async with aiohttp.ClientSession() as session, session.get(site.url + "?follow=1&tailLines=1") as response:
        assert await response.content.readline() == b"three\n"
        site.write(b"2026-01-01T00:00:03Z stdout F half a ")
        site.write(b"line\n")
        assert await response.content.readline() == b"half a line\n"
        site.path.rename(site.path.with_suffix(".log.20260101"))
        site.write(b"2026-01-01T00:00:04Z stdout F after rotation\n")
        assert await response.content.readline() == b"after rotation\n"
        site.write(b"2026-01-01T00:00:05Z stdout F last\n")
        site.over.set()
        assert await response.content.read() == b"last\n"


async def test_a_limit_ends_following(site: Site) -> None:
    site.write(*_LINES)
    async with aiohttp.ClientSession() as session, session.get(site.url + "?follow=1&limitBytes=5") as response:
        assert await response.read() == b"one\nt"


async def test_following_ends_when_the_client_leaves_though_nothing_is_written(site: Site) -> None:
    site.write(*_LINES)
    async with aiohttp.ClientSession() as session, session.get(site.url + "?follow=1") as response:
        assert await response.content.readline() == b"one\n"
        assert not site.left.is_set()
    async with asyncio.timeout(30):
        await site.left.wait()


async def test_no_log_is_not_found(site: Site) -> None:
    async with aiohttp.ClientSession() as session, session.get(site.url) as response:
        assert response.status == 404


@pytest.mark.parametrize(
    ("protocol", "base64", "status", "close"),
    [
        ("v5.channel.k8s.io", False, True, True),
        ("v4.base64.channel.k8s.io", True, True, False),
        ("base64.channel.k8s.io", True, False, False),
        (None, False, False, False),
    ],
    ids=str,
)
def test_dialects(protocol: str | None, base64: bool, status: bool, close: bool) -> None:
    dialect = dialect_of(protocol)
    assert (dialect.base64, dialect.status_objects, dialect.close_signal) == (base64, status, close)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (b'{"status":"Success"}', b""),
        (b'{"status":"Failure","message":"exit code 7"}', b"exit code 7"),
        (b"plain", b"plain"),
        (b"", b""),
    ],
)
def test_status_for_clients_of_the_first_version(status: bytes, text: bytes) -> None:
    assert status_text(status) == text
