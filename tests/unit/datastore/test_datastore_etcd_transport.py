"""The gRPC server of the etcd face against a peer that does as it likes."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hpack import Decoder, Encoder
from http2_peer import Peer, message

from minikube_py.datastore.etcd.transport import Call, Code, Shortcut, StatusError, Streaming, Unary, frames, serve
from minikube_py.datastore.etcd.transport.budget import Budget
from minikube_py.datastore.etcd.transport.call import MESSAGE_BYTES, QUEUED_BYTES
from minikube_py.datastore.etcd.transport.frames import ErrorCode, ProtocolViolation
from minikube_py.datastore.etcd.transport.headers import HeaderReader, timeout_seconds

CHUNK = 50_000


class Service:
    """Handlers that tell what happened to them."""

    def __init__(self) -> None:
        self.started = 0
        self.cancelled = 0
        self.written = 0
        self.released = asyncio.Event()
        self.replies: list[Any] = []

    async def echo(self, request: bytes, call: Call) -> bytes:
        return request

    async def client(self, request: bytes, call: Call) -> bytes:
        return call.client.encode()

    async def fail(self, request: bytes, call: Call) -> bytes:
        raise StatusError(Code.NOT_FOUND, "100% gone: é")

    async def crash(self, request: bytes, call: Call) -> bytes:
        raise ZeroDivisionError

    async def wait(self, request: bytes, call: Call) -> bytes:
        self.started += 1
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return b"released"

    def begin(self, request: bytes, call: Call, reply: Any) -> bool:
        """A shortcut whose outcome the test tells; for requests that say so it refuses or leaves it to ``echo``."""
        if request == b"long way":
            return False
        if request == b"refused":
            raise StatusError(Code.INVALID_ARGUMENT, "refused")
        self.replies.append(reply)
        return True

    def short_answer(self, result: bytes) -> bytes:
        if result == b"crash":
            raise ZeroDivisionError
        return result

    def short_refusal(self, exception: Exception) -> StatusError:
        if not isinstance(exception, StatusError):
            raise exception
        return exception

    async def chat(self, call: Call) -> None:
        async for text in call.messages():
            await call.write(text.upper())

    async def pour(self, call: Call) -> None:
        """As many chunks as the request says."""
        async for text in call.messages():
            for _ in range(int(text)):
                await call.write(b"x" * CHUNK)
                self.written += CHUNK

    def methods(self) -> dict[str, Any]:
        streaming = {"chat": self.chat, "pour": self.pour}
        unary = {name: getattr(self, name) for name in ("echo", "client", "fail", "crash", "wait")}
        return (
            {f"/t/{name}": Unary(handler) for name, handler in unary.items()}
            | {f"/t/{name}": Streaming(handler) for name, handler in streaming.items()}
            | {"/t/short": Unary(self.echo, Shortcut(self.begin, self.short_answer, self.short_refusal))}
        )


class Serving:
    def __init__(self, service: Service, address: str, task: asyncio.Task[None]) -> None:
        self.service, self.address, self.task = service, address, task


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    async with served(grace_seconds=0.1) as found:
        yield found


@contextlib.asynccontextmanager
async def served(*, grace_seconds: float) -> AsyncIterator[Serving]:
    service = Service()
    bound: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        serve(service.methods(), listen="127.0.0.1:0", tls=None, bound=bound.set_result, grace_seconds=grace_seconds)
    )
    try:
        yield Serving(service, await bound, task)
    finally:
        service.released.set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("listen", ["nonsense", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:http", "127.0.0.1:-1"])
async def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(OSError, match="not HOST:PORT"):
        await serve({}, listen=listen, tls=None, bound=lambda address: None)


@pytest.fixture
async def peer(serving: Serving) -> AsyncIterator[Peer]:
    connected = await Peer.connect(serving.address)
    yield connected
    await connected.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


@pytest.mark.parametrize("size", [0, 1, 16_379, 16_380, 65_536, 3 << 19])
async def test_a_message_goes_there_and_back(peer: Peer, size: int) -> None:
    await peer.round_trip()  # the window for large requests is known
    body = random.Random(size).randbytes(size)
    peer.request(1, body)
    assert (await peer.until_end(1))["grpc-status"] == "0"
    assert peer.data[1] == message(body)
    assert peer.headers[1][0] == {":status": "200", "content-type": "application/grpc"}


async def test_many_calls_at_once(peer: Peer) -> None:
    for stream in range(1, 801, 2):
        peer.request(stream, b"%d" % stream)
    for stream in range(1, 801, 2):
        assert (await peer.until_end(stream))["grpc-status"] == "0"
        assert peer.data[stream] == message(b"%d" % stream)


async def test_bytes_may_come_one_by_one(peer: Peer) -> None:
    whole = frames.frame(frames.HEADERS, frames.END_HEADERS, 1, peer.block())
    whole += frames.frame(frames.DATA, frames.END_STREAM, 1, message(b"slowly"))
    for at in range(len(whole)):
        peer.send(whole[at : at + 1])
        await asyncio.sleep(0)
    await peer.until_end(1)
    assert peer.data[1] == message(b"slowly")


async def test_headers_in_continuation_frames_with_padding_and_priority(peer: Peer) -> None:
    block = peer.block(path="/t/client", user_agent="etcdctl/1 " + "x" * 300)
    first = bytes([3]) + b"\0\0\0\0\1" + block[:20] + b"pad"
    peer.frame(frames.HEADERS, frames.PADDED | frames.WITH_PRIORITY, 1, first)
    peer.frame(frames.CONTINUATION, 0, 1, block[20:40])
    peer.frame(frames.CONTINUATION, frames.END_HEADERS, 1, block[40:])
    peer.frame(frames.DATA, frames.PADDED | frames.END_STREAM, 1, b"\4" + message(b"") + b"four")
    assert (await peer.until_end(1))["grpc-status"] == "0"
    assert peer.data[1] == message(b"etcdctl/1 " + b"x" * 300)


@pytest.mark.parametrize(
    ("headers", "body", "outcome"),
    [
        ({"path": "/t/fail"}, b"", {"grpc-status": "5", "grpc-message": "100%25 gone: %C3%A9"}),
        ({"path": "/t/crash"}, b"", {"grpc-status": "13", "grpc-message": "etcdserver: internal error"}),
        ({"path": "/t/none"}, b"", {"grpc-status": "12", "grpc-message": "unknown method /t/none"}),
        ({}, None, {"grpc-status": "13", "grpc-message": "grpc: a request must be one message"}),
        ({"content_type": "text/plain"}, b"", {":status": "415"}),
        ({"method": "GET"}, b"", {":status": "405"}),
    ],
    ids=["a status", "a bug", "no such method", "no message", "not gRPC", "not POST"],
)
async def test_how_calls_fail(peer: Peer, headers: dict[str, str], body: bytes | None, outcome: dict[str, str]) -> None:
    peer.request(1, body, **headers)
    found = await peer.until_end(1)
    assert outcome.items() <= found.items()
    peer.request(3, b"and go on")
    assert (await peer.until_end(3))["grpc-status"] == "0"


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        (message(b"a") + message(b"b"), "13"),
        (message(b"abc")[:-1], "13"),
        (b"\1" + message(b"abc")[1:], "12"),
        (b"\0" + (MESSAGE_BYTES + 1).to_bytes(4, "big"), "8"),
    ],
    ids=["two messages", "half a message", "compressed", "too large"],
)
async def test_requests_that_are_not_one_message(peer: Peer, payload: bytes, status: str) -> None:
    peer.request(1, None, end=False)
    peer.payload(1, payload)
    assert (await peer.until_end(1))["grpc-status"] == status


@pytest.mark.parametrize("headers", [{"path": ""}, {"connection": "close"}, {"grpc_timeout": "soon"}, {":odd": "1"}])
async def test_malformed_requests_are_reset(peer: Peer, headers: dict[str, str]) -> None:
    peer.request(1, b"", **headers)
    await peer.until_end(1)
    assert peer.resets[1] == ErrorCode.PROTOCOL_ERROR
    peer.request(3, b"and go on")
    assert (await peer.until_end(3))["grpc-status"] == "0"


async def test_a_deadline_ends_the_call_and_its_handler(peer: Peer, serving: Serving) -> None:
    peer.request(1, b"", path="/t/wait", grpc_timeout="20m")
    assert (await peer.until_end(1))["grpc-status"] == str(int(Code.DEADLINE_EXCEEDED))
    await until(lambda: serving.service.cancelled == 1)


async def test_a_shortcut_answers_when_its_outcome_is_told(peer: Peer, serving: Serving) -> None:
    for stream, body in enumerate((b"a", b"b", b"c", b"d", b"long way", b"refused", b"e")):
        peer.request(2 * stream + 1, body, path="/t/short")
    await peer.round_trip()
    one, two, three, four, five = serving.service.replies
    assert not three.done()
    three.set_exception(StatusError(Code.UNAVAILABLE, "the disk"))
    assert three.done()
    two.set_result(b"two")
    one.set_exception(ZeroDivisionError())
    five.set_result(b"crash")
    peer.frame(frames.RST_STREAM, 0, 7, int(ErrorCode.CANCEL).to_bytes(4, "big"))
    statuses = [(await peer.until_end(stream))["grpc-status"] for stream in (1, 3, 5, 9, 11, 13)]
    assert statuses == ["13", "0", "14", "0", "3", "13"]
    assert (peer.data[3], peer.data[9]) == (message(b"two"), message(b"long way"))
    await peer.round_trip()
    four.set_result(b"four")  # nobody is there to hear it
    await peer.round_trip()
    assert not peer.headers[7]


async def test_a_leaving_server_answers_what_a_shortcut_has_begun() -> None:
    async with served(grace_seconds=30) as serving:
        peer = await Peer.connect(serving.address)
        peer.request(1, b"a", path="/t/short")
        await peer.round_trip()
        serving.task.cancel()
        async with asyncio.timeout(30):
            while peer.goaway is None:
                assert await peer.read()
        (reply,) = serving.service.replies
        reply.set_result(b"told")
        assert (await peer.until_end(1))["grpc-status"] == "0" and peer.data[1] == message(b"told")
        await peer.close()


async def test_a_reset_ends_the_handler(peer: Peer, serving: Serving) -> None:
    peer.request(1, b"", path="/t/wait")
    await peer.round_trip()
    peer.frame(frames.RST_STREAM, 0, 1, int(ErrorCode.CANCEL).to_bytes(4, "big"))
    await until(lambda: serving.service.cancelled == 1)
    await peer.round_trip()
    assert not peer.headers[1]


async def test_a_lost_connection_ends_its_handlers(peer: Peer, serving: Serving) -> None:
    for stream in (1, 3, 5):
        peer.request(stream, b"", path="/t/wait")
    await until(lambda: serving.service.started == 3)
    peer.writer.transport.abort()
    await until(lambda: serving.service.cancelled == 3)


async def test_messages_go_both_ways_until_the_client_ends(peer: Peer) -> None:
    peer.request(1, b"a", path="/t/chat", end=False)
    await until_data(peer, 1, message(b"A"))
    both = message(b"b") + message(b"c")
    peer.payload(1, both[:3], end=False)
    peer.payload(1, both[3:], end=False)
    await until_data(peer, 1, message(b"A") + message(b"B") + message(b"C"))
    assert 1 not in peer.ended
    peer.frame(frames.DATA, frames.END_STREAM, 1)
    assert (await peer.until_end(1))["grpc-status"] == "0"


async def until_data(peer: Peer, stream: int, expected: bytes) -> None:
    async with asyncio.timeout(30):
        while peer.data[stream] != expected:
            assert await peer.read()


async def test_a_long_stream_of_requests_gets_new_windows(peer: Peer) -> None:
    await peer.round_trip()
    peer.request(1, b"", path="/t/chat", end=False)
    for _ in range(12):  # three times the window of a stream
        peer.payload(1, message(b"y" * (1 << 20)), end=False)
        await until_size(peer, 1)
    peer.frame(frames.DATA, frames.END_STREAM, 1)
    assert (await peer.until_end(1))["grpc-status"] == "0"
    assert len(peer.data[1]) == 5 + 12 * ((1 << 20) + 5)


async def until_size(peer: Peer, stream: int) -> None:
    """Read until nothing but whole messages is there."""
    before = len(peer.data[stream])
    async with asyncio.timeout(30):
        while len(peer.data[stream]) < before + (1 << 20) + 5:
            assert await peer.read(), peer.goaway


async def test_data_keeps_to_the_windows(serving: Serving) -> None:
    peer = await Peer.connect(serving.address, initial_window_size=0)
    peer.windows = False
    peer.request(1, b"3", path="/t/pour")
    await peer.round_trip()
    assert peer.data[1] == b""
    peer.send(frames.window_update(1, 20_000))
    await peer.round_trip()
    assert len(peer.data[1]) == 20_000
    peer.frame(frames.SETTINGS, 0, 0, b"\0\4" + (40_000).to_bytes(4, "big"))
    await peer.round_trip()
    assert len(peer.data[1]) == 60_000
    peer.send(frames.window_update(1, 1 << 20))
    await peer.round_trip()
    assert len(peer.data[1]) == frames.DEFAULT_WINDOW, "the connection's window holds it up"
    peer.request(3, b"")  # trailers need no window, but the message's prefix does
    peer.send(frames.window_update(0, 1 << 20))
    assert (await peer.until_end(3))["grpc-status"] == "0"
    assert (await peer.until_end(1))["grpc-status"] == "0"
    assert len(peer.data[1]) == 3 * (CHUNK + 5)
    await peer.close()


async def test_a_slow_reader_holds_its_handler_up(peer: Peer, serving: Serving) -> None:
    peer.windows = False
    peer.request(1, b"1000", path="/t/pour")
    for _ in range(5):
        await peer.round_trip()
    assert serving.service.written <= QUEUED_BYTES + frames.DEFAULT_WINDOW + 2 * CHUNK
    peer.request(3, b"others are served", path="/t/client")
    peer.send(frames.window_update(0, 1000))
    peer.frame(frames.RST_STREAM, 0, 1, b"\0\0\0\x08")
    assert (await peer.until_end(3))["grpc-status"] == "0"


async def test_settings_are_acknowledged_before_they_are_used(serving: Serving) -> None:
    peer = await Peer.connect(serving.address, initial_window_size=1000)
    peer.windows = False
    peer.request(1, b"1", path="/t/pour")
    await peer.round_trip()
    await peer.round_trip()  # the handler has run by now
    assert len(peer.data[1]) == 1000
    peer.frame(frames.SETTINGS, 0, 0, b"\0\4" + (60_000).to_bytes(4, "big"))
    async with asyncio.timeout(30):
        while len(peer.data[1]) < CHUNK + 5:
            assert await peer.read()
    assert peer.frames[0][:2] == (frames.SETTINGS, frames.ACK)
    await peer.close()


async def test_many_small_window_updates_for_much_data_are_no_flood(peer: Peer) -> None:
    peer.windows = False
    peer.send(frames.window_update(0, 40 << 20))
    peer.request(1, b"600", path="/t/pour")
    peer.send(frames.window_update(1, 30 << 20))
    async with asyncio.timeout(30):
        while len(peer.data[1]) < 600 * (CHUNK + 5):
            assert await peer.read()
    for _ in range(5000):
        peer.send(frames.window_update(0, 6000))
    await peer.round_trip()
    assert peer.goaway is None


async def test_the_end_waits_for_calls_at_work(peer: Peer, serving: Serving) -> None:
    peer.request(1, b"", path="/t/wait")
    await until(lambda: serving.service.started == 1)
    serving.task.cancel()
    async with asyncio.timeout(30):
        while peer.goaway is None:
            assert await peer.read()
    assert peer.goaway[:2] == (1, ErrorCode.NO_ERROR)
    serving.service.released.set()
    assert (await peer.until_end(1))["grpc-status"] == "0"
    assert await peer.until_closed() == ErrorCode.NO_ERROR


async def test_the_end_ends_streams(peer: Peer, serving: Serving) -> None:
    peer.request(1, b"a", path="/t/chat", end=False)
    await until_data(peer, 1, message(b"A"))
    serving.task.cancel()
    assert (await peer.until_end(1))["grpc-status"] == str(int(Code.UNAVAILABLE))
    assert await peer.until_closed() == ErrorCode.NO_ERROR


async def test_the_end_does_not_wait_long(peer: Peer, serving: Serving) -> None:
    peer.request(1, b"", path="/t/wait")
    await until(lambda: serving.service.started == 1)
    serving.task.cancel()
    assert (await peer.until_end(1))["grpc-status"] == str(int(Code.UNAVAILABLE))
    assert serving.service.cancelled == 1


def raw(kind: int, flags: int, stream: int, payload: bytes = b"") -> Callable[[Peer], None]:
    return lambda peer: peer.frame(kind, flags, stream, payload)


def opened(*then: tuple[int, int, int, bytes], end: bool = False) -> Callable[[Peer], None]:
    """Frames after an open call on stream 1."""

    def send(peer: Peer) -> None:
        peer.request(1, None, end=end, path="/t/chat")
        for frame in then:
            peer.frame(*frame)

    return send


F, E = frames, ErrorCode
VIOLATIONS: dict[str, tuple[Callable[[Peer], None], ErrorCode]] = {
    "a frame too large": (raw(F.DATA, 0, 1, bytes(16_385)), E.FRAME_SIZE_ERROR),
    "PING of 7": (raw(F.PING, 0, 0, bytes(7)), E.FRAME_SIZE_ERROR),
    "PING on a stream": (raw(F.PING, 0, 1, bytes(8)), E.PROTOCOL_ERROR),
    "SETTINGS of 5": (raw(F.SETTINGS, 0, 0, bytes(5)), E.FRAME_SIZE_ERROR),
    "SETTINGS on a stream": (raw(F.SETTINGS, 0, 1), E.PROTOCOL_ERROR),
    "SETTINGS ack with content": (raw(F.SETTINGS, F.ACK, 0, bytes(6)), E.FRAME_SIZE_ERROR),
    "initial window": (raw(F.SETTINGS, 0, 0, b"\0\4\xff\xff\xff\xff"), E.FLOW_CONTROL_ERROR),
    "ENABLE_PUSH": (raw(F.SETTINGS, 0, 0, b"\0\2\0\0\0\2"), E.PROTOCOL_ERROR),
    "MAX_FRAME_SIZE": (raw(F.SETTINGS, 0, 0, b"\0\5\0\0\0\1"), E.PROTOCOL_ERROR),
    "window update of 0": (raw(F.WINDOW_UPDATE, 0, 0, bytes(4)), E.PROTOCOL_ERROR),
    "window update of 3": (raw(F.WINDOW_UPDATE, 0, 0, bytes(3)), E.FRAME_SIZE_ERROR),
    "window too large": (raw(F.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), E.FLOW_CONTROL_ERROR),
    "window update, idle stream": (raw(F.WINDOW_UPDATE, 0, 1, b"\0\0\0\1"), E.PROTOCOL_ERROR),
    "RST_STREAM, idle stream": (raw(F.RST_STREAM, 0, 1, bytes(4)), E.PROTOCOL_ERROR),
    "RST_STREAM without stream": (raw(F.RST_STREAM, 0, 0, bytes(4)), E.PROTOCOL_ERROR),
    "DATA, idle stream": (raw(F.DATA, 0, 1, b"x"), E.PROTOCOL_ERROR),
    "DATA without stream": (raw(F.DATA, 0, 0, b"x"), E.PROTOCOL_ERROR),
    "an even stream": (lambda peer: peer.request(2), E.PROTOCOL_ERROR),
    "PUSH_PROMISE": (raw(F.PUSH_PROMISE, 0, 1, bytes(4)), E.PROTOCOL_ERROR),
    "PRIORITY of 4": (raw(F.PRIORITY, 0, 1, bytes(4)), E.FRAME_SIZE_ERROR),
    "CONTINUATION alone": (raw(F.CONTINUATION, F.END_HEADERS, 1), E.PROTOCOL_ERROR),
    "HPACK: no such index": (raw(F.HEADERS, F.END_HEADERS, 1, b"\xff\xff\x01"), E.COMPRESSION_ERROR),
    "HPACK: cut literal": (raw(F.HEADERS, F.END_HEADERS, 1, b"\x40\x7f"), E.COMPRESSION_ERROR),
    "HPACK: table too large": (raw(F.HEADERS, F.END_HEADERS, 1, b"\x3f\xff\xff\x7f"), E.COMPRESSION_ERROR),
    "padding": (opened((F.DATA, F.PADDED, 1, b"\x09abc")), E.PROTOCOL_ERROR),
    "no padding length": (opened((F.DATA, F.PADDED, 1, b"")), E.FRAME_SIZE_ERROR),
    "data after the end": (opened((F.DATA, 0, 1, b"x"), end=True), E.STREAM_CLOSED),
    "headers amid a stream": (opened((F.HEADERS, F.END_HEADERS, 1, b"\x88")), E.PROTOCOL_ERROR),
    "a frame in a header block": (
        lambda peer: (peer.frame(F.HEADERS, 0, 1, b"\x83"), peer.frame(F.PING, 0, 0, bytes(8))),  # type: ignore[dict-item]
        E.PROTOCOL_ERROR,
    ),
    "a header block too large": (
        lambda peer: [peer.frame(F.HEADERS if not n else F.CONTINUATION, 0, 1, bytes(16_000)) for n in range(4)],  # type: ignore[dict-item]
        E.ENHANCE_YOUR_CALM,
    ),
    "endless CONTINUATION": (
        lambda peer: [peer.frame(F.HEADERS if not n else F.CONTINUATION, 0, 1) for n in range(40)],  # type: ignore[dict-item]
        E.ENHANCE_YOUR_CALM,
    ),
}
FLOODS: dict[str, Callable[[Peer, int], None]] = {
    "PING": lambda peer, n: peer.frame(F.PING, 0, 0, bytes(8)),
    "SETTINGS": lambda peer, n: peer.frame(F.SETTINGS, 0, 0),
    "PRIORITY": lambda peer, n: peer.frame(F.PRIORITY, 0, 1, bytes(5)),
    "unknown frames": lambda peer, n: peer.frame(99, 0, 0),
    "empty DATA": lambda peer, n: peer.frame(F.DATA, 0, 1),
    "rapid reset": lambda peer, n: (
        peer.request(2 * n + 3, b"", path="/t/wait"),
        peer.frame(F.RST_STREAM, 0, 2 * n + 3, bytes(4)),
    ),  # type: ignore[dict-item]
    "unknown methods": lambda peer, n: peer.request(2 * n + 3, b"", path="/t/none"),
}


@pytest.mark.parametrize("name", VIOLATIONS)
async def test_violations_end_the_connection(peer: Peer, serving: Serving, name: str) -> None:
    send, code = VIOLATIONS[name]
    send(peer)
    assert await peer.until_closed() == code
    other = await Peer.connect(serving.address)
    other.request(1, b"others go on")
    assert (await other.until_end(1))["grpc-status"] == "0"
    await other.close()


@pytest.mark.parametrize("name", FLOODS)
async def test_floods_end_the_connection(peer: Peer, serving: Serving, name: str) -> None:
    peer.request(1, None, end=False, path="/t/chat")
    for n in range(3000):
        FLOODS[name](peer, n)
    assert await peer.until_closed() in (ErrorCode.ENHANCE_YOUR_CALM, None)  # None: reset before it was read
    await until(lambda: serving.service.cancelled == serving.service.started)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", frames.PREFACE[:-1] + b"x", b"\x16\x03\x01\x02\x00"])
async def test_what_is_not_http2_is_hung_up_on(serving: Serving, data: bytes) -> None:
    reader, writer = await asyncio.open_connection(*serving.address.rsplit(":", 1))
    writer.write(data)
    assert frames.GOAWAY not in [(await reader.read())[3:4]]
    writer.close()


async def test_settings_come_first(serving: Serving) -> None:
    reader, writer = await asyncio.open_connection(*serving.address.rsplit(":", 1))
    peer = Peer(reader, writer)
    peer.send(frames.PREFACE)
    peer.frame(frames.PING, 0, 0, bytes(8))
    assert await peer.until_closed() == ErrorCode.PROTOCOL_ERROR


async def test_pings_are_answered_for_as_long_as_there_is_work(peer: Peer) -> None:
    for n in range(1500):
        peer.frame(frames.PING, 0, 0, n.to_bytes(8, "big"))
        peer.request(2 * n + 1, b"")
        await peer.until_end(2 * n + 1)
    assert peer.goaway is None


@pytest.mark.parametrize("seed", range(8))
def test_remembered_header_blocks_read_as_decoded_ones(seed: int) -> None:
    chance = random.Random(seed)
    encoder, plain, reader = Encoder(), Decoder(), HeaderReader()
    paths, agents = ["/a", "/b", "/c" * 90], ["one", "two", "x" * 600]
    for _ in range(300):
        if chance.random() < 0.03:
            encoder.header_table_size = chance.choice([0, 100, 4096])
        fields = [(":method", "POST"), (":scheme", "http"), (":path", chance.choice(paths))]
        fields += [("content-type", "application/grpc"), ("user-agent", chance.choice(agents))]
        if chance.random() < 0.1:
            fields.append(("grpc-timeout", f"{chance.randrange(1000)}m"))
        block = encoder.encode(fields)
        decoded: Any = dict(plain.decode(block))
        head = reader.read(block)
        assert (head.path, head.user_agent) == (decoded[":path"], decoded["user-agent"])
        assert head.timeout_seconds == (timeout_seconds(decoded["grpc-timeout"]) if "grpc-timeout" in decoded else None)


def test_a_list_of_headers_has_a_limit() -> None:
    block = Encoder().encode([("x", "y" * 4000)] + [("x", "y" * 4000)] * 9)
    with pytest.raises(ProtocolViolation):
        HeaderReader().read(block)


def test_a_budget_comes_back_with_time_and_work() -> None:
    now = 0.0
    budget = Budget(lambda: now)
    while budget.spend():
        pass
    assert not budget.spend()
    now = 10.0
    assert [budget.spend() for _ in range(900)] == [True] * 900
    for _ in range(5000):  # a large response goes out, its window updates come back later
        budget.earn()
    assert [budget.spend() for _ in range(20_000)] == [True] * 20_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1H", 3600.0),
        ("2M", 120.0),
        ("3S", 3.0),
        ("99999999n", 0.099999999),
        ("", None),
        ("m", None),
        ("123456789m", None),
        ("-1S", None),
        ("²S", None),
    ],
)
def test_timeouts(text: str, seconds: float | None) -> None:
    assert timeout_seconds(text) == (pytest.approx(seconds) if seconds is not None else None)
