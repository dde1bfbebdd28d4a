"""Plugin files in a private folder."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest


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
