"""The gRPC client against grpcio's server, and the message tables."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.components.kubelet.runtime import messages
from minikube_py.components.kubelet.runtime.rpc.channel import Channel, RpcError
from minikube_py.components.kubelet.runtime.rpc.protobuf import DecodeError, Table

table = Table(
    """
Inner text=1:string flag=2:bool
Outer number=1:int32 large=2:uint64 signed=3:int64 name=4:string raw=5:bytes inner=6:Inner labels=7:map
"""
    + "Lists numbers=1:*int64 names=2:*string inners=3:*Inner kinds=4:*enum\nNewer number=1:int32 other=9:string\n"
)


class Handlers(grpc.GenericRpcHandler):
    """Echo in several manners, by method name."""

    def service(self, details: Any) -> Any:
        name = details.method.rpartition("/")[2]
        if name == "Collect":
            return grpc.stream_unary_rpc_method_handler(self.collect)
        if name == "Chat":
            return grpc.stream_stream_rpc_method_handler(self.chat)
        if name == "Count":
            return grpc.unary_stream_rpc_method_handler(self.count)
        found = getattr(self, name.lower(), None)
        return None if found is None else grpc.unary_unary_rpc_method_handler(found)

    async def echo(self, request: bytes, context: Any) -> bytes:
        return request

    async def metadata(self, request: bytes, context: Any) -> bytes:
        return str(dict(context.invocation_metadata()).get("containerd-namespace")).encode()

    async def refuse(self, request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: ü 100%")
        return b""

    async def unavailable(self, request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
        return b""

    async def hang(self, request: bytes, context: Any) -> bytes:
        self.hanging = asyncio.Event()
        try:
            await asyncio.sleep(60)
        finally:
            self.hanging.set()
        return b""

    async def collect(self, requests: Any, context: Any) -> bytes:
        total = 0
        async for request in requests:
            total += len(request)
        return str(total).encode()

    async def chat(self, requests: Any, context: Any) -> Any:
        async for request in requests:
            yield request.upper()

    async def count(self, request: bytes, context: Any) -> Any:
        for number in range(int(request)):
            yield str(number).encode() + bytes(20_000)


@pytest_asyncio.fixture
async def handlers(tmp_path: Path) -> AsyncIterator[tuple[Handlers, Channel, grpc.aio.Server]]:
    limits = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.aio.server(options=limits)
    handlers = Handlers()
    server.add_generic_rpc_handlers((handlers,))
    server.add_insecure_port(f"unix:{tmp_path}/s")
    await server.start()
    channel = Channel(f"unix://{tmp_path}/s", (("containerd-namespace", "k8s.io"),))
    yield handlers, channel, server
    await channel.close()
    await server.stop(None)


Peer = tuple[Handlers, Channel, grpc.aio.Server]


@pytest.mark.parametrize("size", [0, 1, 100_000, 8_000_000], ids=["empty", "small", "many frames", "beyond windows"])
async def test_a_message_of_any_size_goes_and_comes(handlers: Peer, size: int) -> None:
    _, channel, _ = handlers
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert await channel.unary("/t.T/Echo", payload, timeout_seconds=10) == payload


async def test_many_calls_share_one_connection(handlers: Peer) -> None:
    _, channel, _ = handlers
    texts = [b"%d" % number for number in range(200)]
    answers = await asyncio.gather(*(channel.unary("/t.T/Echo", text, timeout_seconds=10) for text in texts))
    assert answers == texts


async def test_metadata_goes_with_every_call(handlers: Peer) -> None:
    _, channel, _ = handlers
    assert await channel.unary("/t.T/Metadata", b"", timeout_seconds=5) == b"k8s.io"


async def test_an_error_keeps_its_code_and_text(handlers: Peer) -> None:
    _, channel, _ = handlers
    with pytest.raises(RpcError) as caught:
        await channel.unary("/t.T/Refuse", b"x", timeout_seconds=5)
    assert (caught.value.code, caught.value.message) == ("NOT_FOUND", "no such thing: ü 100%")


async def test_a_method_that_is_not_there_is_unimplemented(handlers: Peer) -> None:
    _, channel, _ = handlers
    with pytest.raises(RpcError) as caught:
        await channel.unary("/t.T/Absent", b"", timeout_seconds=5)
    assert caught.value.code == "UNIMPLEMENTED"


async def test_a_call_ends_at_its_deadline_and_the_server_learns_it(handlers: Peer) -> None:
    served, channel, _ = handlers
    with pytest.raises(RpcError) as caught:
        await channel.unary("/t.T/Hang", b"", timeout_seconds=0.1)
    assert caught.value.code == "DEADLINE_EXCEEDED"
    async with asyncio.timeout(30):
        await served.hanging.wait()
    assert await channel.unary("/t.T/Echo", b"still usable", timeout_seconds=5) == b"still usable"


async def test_messages_stream_in_order(handlers: Peer) -> None:
    _, channel, _ = handlers
    seen = [int(message.rstrip(b"\0")) async for message in channel.messages("/t.T/Count", b"600")]
    assert seen == list(range(600))


async def test_a_conversation_in_both_directions(handlers: Peer) -> None:
    _, channel, _ = handlers
    async with await channel.call("/t.T/Chat") as call:
        for word in (b"one", b"two"):
            await call.send(word)
            assert await call.receive() == word.upper()
        await call.send(b"three", end=True)
        assert await call.receive() == b"THREE"
        assert await call.receive() is None


async def test_a_long_upload_waits_for_the_servers_windows(handlers: Peer) -> None:
    _, channel, _ = handlers
    async with await channel.call("/t.T/Collect") as call:
        for number in range(20):
            await call.send(bytes(300_000), end=number == 19)
        assert await call.receive() == b"6000000"


async def test_a_lost_connection_is_unavailable_and_then_made_anew(handlers: Peer, tmp_path: Path) -> None:
    _, channel, server = handlers
    call = asyncio.create_task(channel.unary("/t.T/Hang", b"", timeout_seconds=30))
    assert await channel.unary("/t.T/Echo", b"1", timeout_seconds=5) == b"1"
    await server.stop(None)
    with pytest.raises(RpcError) as caught:
        await call
    assert caught.value.code in ("UNAVAILABLE", "CANCELLED")
    with pytest.raises(RpcError) as refused:
        await channel.unary("/t.T/Echo", b"2", timeout_seconds=5)
    assert refused.value.code == "UNAVAILABLE"
    second = grpc.aio.server()
    second.add_generic_rpc_handlers((Handlers(),))
    second.add_insecure_port(f"unix:{tmp_path}/s")
    await second.start()
    assert await channel.unary("/t.T/Echo", b"3", timeout_seconds=5) == b"3"
    await second.stop(None)


async def test_closing_ends_open_calls_and_the_channel_connects_again(handlers: Peer) -> None:
    _, channel, _ = handlers
    call = asyncio.create_task(channel.unary("/t.T/Hang", b"", timeout_seconds=30))
    assert await channel.unary("/t.T/Echo", b"1", timeout_seconds=5) == b"1"
    await channel.close()
    with pytest.raises(RpcError, match="the channel was closed") as caught:
        await call
    assert caught.value.code == "CANCELLED"
    assert await channel.unary("/t.T/Echo", b"2", timeout_seconds=5) == b"2"


async def test_cancelling_a_reader_cancels_the_call_at_the_server(handlers: Peer) -> None:
    served, channel, _ = handlers
    call = asyncio.create_task(channel.unary("/t.T/Hang", b"", timeout_seconds=30))
    async with asyncio.timeout(30):
        while not hasattr(served, "hanging"):
            await channel.unary("/t.T/Echo", b"", timeout_seconds=30)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    async with asyncio.timeout(30):
        await served.hanging.wait()


async def test_a_failed_call_leaves_others_of_its_connection_alone(handlers: Peer, tmp_path: Path) -> None:
    _, channel, _ = handlers
    async with await channel.call("/t.T/Chat") as call:
        await call.send(b"before")
        assert await call.receive() == b"BEFORE"
        with pytest.raises(RpcError, match="busy"):
            await channel.unary("/t.T/Unavailable", b"", timeout_seconds=5)
        assert await channel.unary("/t.T/Echo", b"anew", timeout_seconds=5) == b"anew"
        await call.send(b"after", end=True)
        assert await call.receive() == b"AFTER"


async def test_the_first_call_after_a_server_appears_succeeds(tmp_path: Path) -> None:
    """No back-off: what starts containerd asks it every few milliseconds."""
    channel = Channel(str(tmp_path / "s"))
    for _ in range(3):
        with pytest.raises(RpcError) as caught:
            await channel.unary("/t.T/Echo", b"", timeout_seconds=30)
        assert caught.value.code == "UNAVAILABLE"
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handlers(),))
    server.add_insecure_port(f"unix:{tmp_path}/s")
    await server.start()
    assert await channel.unary("/t.T/Echo", b"there", timeout_seconds=0.5) == b"there"
    await channel.close()
    await server.stop(None)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        pytest.param("/nowhere/s", "/nowhere/s", id="nobody there"),
        pytest.param("/" + "x" * 107, "too long for a socket", id="longer than the kernel takes"),
    ],
)
async def test_an_endpoint_that_cannot_be_reached_is_unavailable(path: str, text: str) -> None:
    channel = Channel(path)
    with pytest.raises(RpcError, match=text) as caught:
        await channel.unary("/t.T/Echo", b"", timeout_seconds=30)
    assert caught.value.code == "UNAVAILABLE"
    await channel.close()


async def test_a_path_may_contain_any_character(tmp_path: Path) -> None:
    path = tmp_path / "a b%41#ü?"
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handlers(),))
    server.add_insecure_port(f"unix:{quote(str(path))}")
    await server.start()
    channel = Channel(f"unix://{path}")
    assert await channel.unary("/t.T/Echo", b"1", timeout_seconds=5) == b"1"
    await channel.close()
    await server.stop(None)


def test_programs_start_under_uvloop_while_calls_run(tmp_path: Path) -> None:
    """In a process of its own: grpcio reads once whether it has fork handlers, which crash such children."""
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", _PROGRAM, str(tmp_path / "s")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "{0}\n", "")


_PROGRAM = """
import asyncio, sys, uvloop
from minikube_py.components.kubelet.runtime.rpc.channel import Channel
assert "grpc" not in sys.modules

async def program():
    return await (await asyncio.create_subprocess_exec("/bin/true")).wait()

async def echo(request, context):
    return request

async def main():
    asyncio.get_running_loop().slow_callback_duration = 60  # how fast the machine is says nothing
    channel = Channel(sys.argv[1])
    try:
        await channel.unary("/t.T/Echo", b"", timeout_seconds=30)
    except Exception as error:
        assert error.code == "UNAVAILABLE", error
    import grpc.aio
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
        "t.T", {"Echo": grpc.unary_unary_rpc_method_handler(echo)}),))
    server.add_insecure_port("unix:" + sys.argv[1])
    await server.start()
    calls = [channel.unary("/t.T/Echo", b"", timeout_seconds=30) for _ in range(20)]
    results = await asyncio.gather(*(program() for _ in range(20)), *calls)
    print(set(results[:20]))
    await channel.close()
    await server.stop(None)

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
"""


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "number": st.integers(-(2**31), 2**31 - 1).filter(bool),
            "large": st.integers(1, 2**64 - 1),
            "signed": st.integers(-(2**63), 2**63 - 1).filter(bool),
            "name": st.text(min_size=1),
            "raw": st.binary(min_size=1),
            "inner": st.fixed_dictionaries({}, optional={"text": st.text(min_size=1), "flag": st.just(True)}),
            "labels": st.dictionaries(st.text(), st.text(), min_size=1),
        },
    )
)
def test_messages_survive_a_round_trip(message: dict[str, Any]) -> None:
    assert table.decode("Outer", table.encode("Outer", message)) == message


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1),
    st.lists(st.text(), min_size=1),
    st.lists(st.fixed_dictionaries({}, optional={"text": st.text(min_size=1)}), min_size=1),
)
def test_lists_survive_a_round_trip(numbers: list[int], names: list[str], inners: list[dict[str, str]]) -> None:
    message = {"numbers": numbers, "names": names, "inners": inners}
    assert table.decode("Lists", table.encode("Lists", message)) == message


@pytest.mark.parametrize(
    ("given_message", "found"),
    [
        pytest.param({"number": 0, "name": "", "raw": b""}, {}, id="zero scalars are not on the wire"),
        pytest.param({"inner": {}}, {"inner": {}}, id="an empty submessage is"),
        pytest.param({"inner": None, "labels": {}}, {}, id="None and empty maps are not"),
    ],
)
def test_presence(given_message: dict[str, Any], found: dict[str, Any]) -> None:
    assert table.decode("Outer", table.encode("Outer", given_message)) == found


def test_unknown_fields_are_skipped_and_malformed_bytes_refused() -> None:
    data = table.encode("Newer", {"number": 5, "other": "later"})
    assert table.decode("Outer", data) == {"number": 5}
    for damaged in (data[:-2], b"\x0a", b"\x80", b"\x0b"):
        with pytest.raises(DecodeError):
            table.decode("Outer", damaged)


def test_every_type_named_in_the_tables_is_there() -> None:
    scalars = {"bool", "bytes", "enum", "int32", "int64", "map", "string", "uint32", "uint64"}
    for loaded in (messages.cri(), messages.containerd()):
        layouts = loaded._layouts
        types = {field.type for layout in layouts.values() for field in layout.by_name.values()}
        assert types - scalars <= set(layouts)
