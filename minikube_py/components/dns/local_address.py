"""Gives the loopback interface one more address for as long as a block runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from minikube_py.host.commands import CommandFailed, run


@asynccontextmanager
async def local_address(address: str, *, enabled: bool = True) -> AsyncIterator[None]:
    """Have ``address``/32 on ``lo``; one that is left over from a kill -9 is taken over. Raises CommandFailed."""
    if not enabled:
        yield
        return
    await run(["ip", "address", "replace", f"{address}/32", "dev", "lo"])
    try:
        yield
    finally:
        await remove_local_address(address)


async def remove_local_address(address: str) -> None:
    """Take the address away; one that is not there is fine. Raises CommandFailed."""
    try:
        await run(["ip", "address", "del", f"{address}/32", "dev", "lo"])
    except CommandFailed as error:
        if "Address not found" not in error.text and "Cannot assign requested address" not in error.text:
            raise
