"""Many TLS watches of one ConfigMap, and how long a write takes to reach each: ``watchers.py PORT TOKEN COUNT WRITES``.

Prints "watching" when all have begun, waits for a line, writes, prints the found times (seconds) as JSON. A time is
from the moment before the write is sent until the watcher's bytes are decrypted here.
"""

from __future__ import annotations

import asyncio
import json
import resource
import ssl
import statistics
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

import uvloop

_PATH = "/api/v1/namespaces/default/configmaps"
_AT_ONCE = 64
_PATIENCE_SECONDS = 30.0


@dataclass(slots=True)
class Write:
    """When each watcher saw one write; ``complete`` is set by the last of ``expected``."""

    expected: int
    seen: list[float] = field(default_factory=list)
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, now: float) -> None:
        self.seen.append(now)
        if len(self.seen) == self.expected:
            self.complete.set()


class Watcher(asyncio.Protocol):
    """Notes when each write's number comes in."""

    def __init__(self, request: bytes, writes: list[Write]) -> None:
        self._request = request
        self._writes = writes
        self.begun = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if not self.begun.done():
            if data.startswith(b"HTTP/1.1 200"):
                self.begun.set_result(None)
            else:
                self.begun.set_exception(RuntimeError(data[:200].decode(errors="replace")))
        at = data.find(b'"write":"')
        while at >= 0:
            self._writes[int(data[at + 9 : data.index(b'"', at + 9)])].note(now)
            at = data.find(b'"write":"', at + 9)


async def main(port: int, token: str, count: int, writes: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    context = ssl._create_unverified_context()
    loop = asyncio.get_running_loop()
    head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nAccept: application/json\r\nUser-Agent: bench/1.0\r\n"
    noted = [Write(count) for _ in range(writes)]
    gate = asyncio.Semaphore(_AT_ONCE)
    query = "?watch=1&resourceVersion=0&fieldSelector=metadata.name%3Dwatched"
    request = f"GET {_PATH}{query} HTTP/1.1\r\n{head}\r\n".encode()

    async def begin() -> None:
        async with gate:
            _, watcher = await loop.create_connection(
                lambda: Watcher(request, noted), "127.0.0.1", port, ssl=context, server_hostname=""
            )
            await asyncio.wait_for(watcher.begun, _PATIENCE_SECONDS)

    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="")

    async def send(method: str, path: str, body: str) -> None:
        text = (
            f"{method} {path} HTTP/1.1\r\n{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write((text + body).encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        if answer.split()[1][:1] != b"2":
            raise RuntimeError(answer.decode())
        length = next(int(line[15:]) for line in answer.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        await reader.readexactly(length)

    def config_map(data: str) -> str:
        return f'{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"watched"}},"data":{data}}}'

    await send("POST", _PATH, config_map("{}"))
    async with asyncio.TaskGroup() as tasks:
        for _ in range(count):
            tasks.create_task(begin())
    print("watching", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    delays: list[float] = []
    for number, write in enumerate(noted):
        began = time.perf_counter()
        await send("PUT", f"{_PATH}/watched", config_map(f'{{"write":"{number}"}}'))
        with suppress(TimeoutError):
            await asyncio.wait_for(write.complete.wait(), _PATIENCE_SECONDS)
        delays += [at - began for at in write.seen]
    centiles = statistics.quantiles(delays, n=100)
    found = {"median": centiles[49], "p99": centiles[98], "slowest": max(delays), "lost": writes * count - len(delays)}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
