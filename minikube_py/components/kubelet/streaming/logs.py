"""A container's log for a client: tail, since, limits, time stamps, and following with inotify.

Follows across rotation (the runtime reopens the path under a new inode) and ends when the
container has ended and everything is sent, when the limit is reached, or when the client goes.
Reading happens in threads, in pieces; nothing is held beyond one piece.
"""

from __future__ import annotations

import asyncio
import datetime
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from aiohttp import web

from minikube_py.components.kubelet.streaming.log_format import LogView, comparable_time
from minikube_py.host.inotify import folder_changes
from minikube_py.machinery.clock import Clock

_piece_bytes = 1 << 17


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """PodLogOptions as far as they are about one file; ``since_seconds`` is Unix time."""

    follow: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since_seconds: float | None = None
    stream: str = ""
    """``stdout``, ``stderr`` or empty for both."""


def log_options(query: Mapping[str, str], clock: Clock) -> LogOptions:
    """From the query of ``/containerLogs``. Raises HTTPBadRequest; times follow PodLogOptions' rules."""
    if query.get("sinceSeconds") and query.get("sinceTime"):
        raise web.HTTPBadRequest(text="at most one of `sinceTime` or `sinceSeconds` may be specified")
    since: float | None = None
    since_seconds = _number(query, "sinceSeconds", least=1)
    if since_seconds is not None:
        since = clock.now() - since_seconds
    elif query.get("sinceTime"):
        try:
            since = datetime.datetime.fromisoformat(query["sinceTime"]).timestamp()
        except ValueError:
            raise web.HTTPBadRequest(text=f"unable to parse sinceTime {query['sinceTime']!r}") from None
    stream = query.get("stream", "")
    if stream not in ("", "All", "Stdout", "Stderr"):
        raise web.HTTPBadRequest(text=f"unknown log stream {stream!r}: use All, Stdout or Stderr")
    return LogOptions(
        follow=_flag(query, "follow"),
        timestamps=_flag(query, "timestamps"),
        tail_lines=_number(query, "tailLines", least=0),
        limit_bytes=_number(query, "limitBytes", least=1),
        since_seconds=since,
        stream="" if stream == "All" else stream.lower(),
    )


async def serve_logs(
    request: web.Request,
    path: Path,
    options: LogOptions,
    *,
    ended: Callable[[], Awaitable[None]] | None = None,
) -> web.StreamResponse:
    """Answer with the log at ``path``. Raises HTTPNotFound when there is none.

    ``ended`` is a coroutine function that returns once the container does not run any more; without
    it, following goes on until the client leaves.
    """
    try:
        file = await asyncio.to_thread(path.open, "rb")
    except FileNotFoundError:
        raise web.HTTPNotFound(text=f"failed to open log file {str(path)!r}: no such file or directory") from None
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    reader = _LogReader(path, file, _view(options))
    if options.follow:
        response.force_close()  # the connection is not aiohttp's own afterwards
    try:
        await response.prepare(request)
        if options.tail_lines is not None:
            await asyncio.to_thread(seek_tail, file, options.tail_lines)
        if options.follow:
            await _follow(request, reader, response, ended)
        else:
            await _send_rest(reader, response)
        await response.write_eof()
    except ConnectionError:
        return response  # the client has what it wanted
    finally:
        reader.close()  # at once: a cancelled request must not leave it open
    return response


class _LogReader:
    """Reads whole lines and turns them into the client's bytes. Blocks; one caller at a time."""

    def __init__(self, path: Path, file: BinaryIO, view: LogView) -> None:
        self.path = path
        self._file = file
        self._rest = b""
        self.view = view

    def next(self) -> bytes | None:
        """The client's bytes of the next piece (perhaps empty), or None at the present end of the log."""
        data = self._file.read(_piece_bytes)
        if not data:
            return b"" if self._reopened() else None
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        out = []
        for line in lines:
            if self.view.exhausted:
                break
            out.append(self.view.show(line + b"\n"))
        return b"".join(out)

    def close(self) -> None:
        self._file.close()

    def _reopened(self) -> bool:
        """Go on with the new file when the path names another one by now."""
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return False  # between renaming and making: the watch tells
        if now.st_ino == os.fstat(self._file.fileno()).st_ino:
            return False
        self._file.close()
        self._file = self.path.open("rb")
        self._rest = b""
        return True


async def _send_rest(reader: _LogReader, response: web.StreamResponse) -> None:
    """Send everything up to the present end or the limit."""
    while not reader.view.exhausted and (out := await asyncio.to_thread(reader.next)) is not None:
        if out:
            await response.write(out)


async def _follow(
    request: web.Request,
    reader: _LogReader,
    response: web.StreamResponse,
    ended: Callable[[], Awaitable[None]] | None,
) -> None:
    """Send what is there and what comes, until the container or the client has gone or the limit is reached."""
    gone = _ClientGone()
    request.protocol.set_parser(cast(Any, gone))
    client = asyncio.create_task(gone.event.wait())
    end = asyncio.ensure_future(ended()) if ended is not None else None
    tasks: set[asyncio.Future[Any]] = {client} if end is None else {client, end}
    try:
        with folder_changes([reader.path.parent], each_write=True) as changed:
            over = False
            while not over and not client.done():
                changed.clear()
                over = end is not None and end.done()  # looked at before reading: what came before the end is read
                await _send_rest(reader, response)
                over = over or reader.view.exhausted
                if not over:
                    await _first(changed, tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _ClientGone:
    """Takes the place of aiohttp's parser while a log is followed: the handler hears when the client leaves.

    Otherwise the handler would learn it only at its next write, which may never come.
    """

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        return False, b""  # clients do not speak while they follow

    def feed_eof(self) -> None:
        self.event.set()


async def _first(changed: asyncio.Event, others: set[asyncio.Future[Any]]) -> None:
    """Wait for a change of the log or the end of anything else."""
    change = asyncio.create_task(changed.wait())
    try:
        await asyncio.wait({change, *others}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        change.cancel()
        await asyncio.gather(change, return_exceptions=True)


def seek_tail(file: BinaryIO, lines: int) -> None:
    """Put the file's position before its last ``lines`` whole lines, reading from the end. Blocks."""
    position = file.seek(0, os.SEEK_END)
    wanted = lines + 1  # the line feed before the first of them
    if lines == 0:
        return
    while position > 0:
        size = min(_piece_bytes, position)
        position -= size
        file.seek(position)
        piece = file.read(size)
        count = piece.count(b"\n")
        if count < wanted:
            wanted -= count
            continue
        cut = len(piece)
        for _ in range(wanted):
            cut = piece.rindex(b"\n", 0, cut)
        file.seek(position + cut + 1)
        return
    file.seek(0)


def _view(options: LogOptions) -> LogView:
    since = b""
    if options.since_seconds is not None:
        moment = datetime.datetime.fromtimestamp(options.since_seconds, datetime.UTC)
        since = comparable_time(moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode())
    return LogView(
        timestamps=options.timestamps,
        since=since,
        stream=options.stream.encode(),
        remaining_bytes=options.limit_bytes,
    )


def _flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "").lower() in ("1", "true")


def _number(query: Mapping[str, str], name: str, *, least: int) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    if not text.lstrip("-").isdecimal():
        raise web.HTTPBadRequest(text=f"unable to parse {name} {text!r} as a whole number")
    if int(text) < least:
        raise web.HTTPBadRequest(text=f"{name}: must be greater than or equal to {least}")
    return int(text)
