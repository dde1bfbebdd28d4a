"""Plugin files in a private folder."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "plugins.md"


def example(name: str) -> str:
    """The worked example of the document that begins with this file name."""
    for block in DOCUMENT.read_text().split("```python\n")[1:]:
        code = block.split("```")[0]
        if code.startswith(f"# {name}\n"):
            return code
    raise AssertionError(f"{DOCUMENT} has no example {name}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "server" / "plugins"
    made.mkdir(parents=True, mode=0o700)
    return made


@pytest.fixture
def write(folder: Path) -> Callable[[str, str], Path]:
    def write(name: str, code: str) -> Path:
        path = folder / name
        path.write_text(textwrap.dedent(code))
        path.chmod(0o600)
        return path

    return write
