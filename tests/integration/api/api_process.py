"""An API server in a process of its own, over TLS, and raw requests to it."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_START_SECONDS = 60.0
UNVERIFIED = ssl._create_unverified_context()


@dataclass(frozen=True, slots=True)
class Reply:
    """A raw answer; ``code`` is 0 when the server closed the connection without one."""

    code: int
    head: bytes
    body: bytes

    @property
    def object(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Running:
    """The process and the administrator's token."""

    process: subprocess.Popen[bytes]
    port: int
    token: str
    log: Path

    def head(self, method: str, path: str, *lines: str) -> bytes:
        fields = ["Host: 127.0.0.1", f"Authorization: Bearer {self.token}", "User-Agent: test/1", *lines]
        return f"{method} {path} HTTP/1.1\r\n".encode() + "".join(f"{line}\r\n" for line in fields).encode() + b"\r\n"

    async def exchange(self, data: bytes, seconds: float = 30.0) -> Reply:
        """Send bytes on a new connection and read one answer. TimeoutError when there is none in time."""
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=UNVERIFIED, limit=1 << 20)
            try:
                writer.write(data)
                return await _read(reader)
            finally:
                await hang_up(writer)

    async def send(self, method: str, path: str, body: bytes = b"", media_type: str = "application/json") -> Reply:
        """One well-formed request."""
        lines = [f"Content-Type: {media_type}", f"Content-Length: {len(body)}"] if body else []
        return await self.exchange(self.head(method, path, *lines) + body)

    def resident_kilobytes(self) -> int:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close a connection, whatever the server has already done to it."""
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Reply:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        body = b""
        if b"content-length" in fields:
            body = await reader.readexactly(int(fields[b"content-length"]))
        elif fields.get(b"transfer-encoding") == b"chunked":
            body = await reader.readuntil(b"0\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return Reply(0, b"", b"")
    return Reply(int(head.split(b" ", 2)[1]), head, body)


@contextmanager
def api_process(folder: Path, *flags: str, controllers: bool = False, by: Sequence[str] = ()) -> Iterator[Running]:
    """Start a server (with further ``flags``) whose data lie in ``folder``; stop it at the end.

    ``by`` is a command that runs it and takes its place. The folder's owner must be able to read the token file.
    RuntimeError when it does not start.
    """
    token = secrets.token_hex(8)
    (folder / "tokens.csv").write_text(f'{token},admin,1,"system:masters"\n')
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [*by, str(Path(sys.executable).parent / "pyk3s"), "server", "--data-dir", str(folder / "data")]
    command += ["--write-kubeconfig", str(folder / "config"), "--token-auth-file", str(folder / "tokens.csv")]
    command += ["--disable-agent", "--disable-scheduler"]
    command += [] if controllers else ["--disable-controller-manager"]
    command += ["--bind-address", "127.0.0.1", "--https-listen-port", str(port), *flags]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    server = Running(process, port, token, log)
    try:
        _await_ready(server)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def _await_ready(server: Running) -> None:
    ends = time.monotonic() + _START_SECONDS
    while True:
        try:
            reply = asyncio.run(server.send("GET", "/api/v1/namespaces/default"))
        except OSError:
            reply = Reply(0, b"", b"")
        if reply.code == 200:
            return
        if server.process.poll() is not None or time.monotonic() > ends:
            raise RuntimeError(f"the API server did not start:\n{server.log.read_text()[-2000:]}")
        time.sleep(0.1)
