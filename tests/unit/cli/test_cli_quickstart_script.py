"""What ``scripts/quickstart`` does with a command line or a folder that is not what it expects."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "quickstart"


def quickstart(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), *arguments], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYK3S_HOME": str(home)},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("files", "says", "left"),
    [
        pytest.param([], "nothing to remove", True, id="an empty folder"),
        pytest.param(["bin/pyk3s", "keep"], "nothing to remove", True, id="a folder of somebody else"),
        pytest.param(["pyvenv.cfg", "bin/python"], "unfinished installation", False, id="an installation cut short"),
    ],
)
def test_down_removes_only_what_it_made(tmp_path: Path, files: list[str], says: str, left: bool) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for name in files:
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).touch(mode=0o755)
    done = quickstart("--down", home=home)
    assert (done.returncode, says in done.stdout, home.exists()) == (0, True, left)
    assert not left or all((home / name).exists() for name in files)


def test_a_wrong_option_shows_the_right_ones(tmp_path: Path) -> None:
    done = quickstart("--dwon", home=tmp_path / "none")
    assert done.returncode == 2 and "--down" in done.stdout
