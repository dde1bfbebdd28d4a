"""Programs of the machine: output, failure, time limit."""

from __future__ import annotations

import pytest

from minikube_py.host.commands import CommandFailed, run


async def test_output_and_input() -> None:
    assert await run(["cat"], stdin=b"hello") == b"hello"


@pytest.mark.parametrize(
    ("command", "status", "text"),
    [
        pytest.param(["sh", "-c", "echo why >&2; exit 3"], 3, "why", id="failure with words"),
        pytest.param(["false"], 1, "exit status 1", id="failure without words"),
        pytest.param(["/no/such/program"], None, "is not installed", id="missing"),
    ],
)
async def test_failures(command: list[str], status: int | None, text: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        await run(command)
    assert caught.value.status == status
    assert text in caught.value.text


async def test_time_limit_kills_the_program() -> None:
    with pytest.raises(CommandFailed, match="no end after"):
        await run(["sleep", "60"], timeout=0.05)
