"""What /version says about the build, and what the build hook notes for it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from minikube_py.build_info import BuildInfo, checked_out, read_build_info, version_info
from scripts import build_hook

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"HEAD": COMMIT}, COMMIT),
        ({"HEAD": "ref: refs/heads/a/b\n", "refs/heads/a/b": f"{COMMIT}\n"}, COMMIT),
        ({"HEAD": "ref: refs/heads/a\n", "packed-refs": f"# pack-refs\n{COMMIT} refs/heads/a\n^{COMMIT}\n"}, COMMIT),
        ({"HEAD": "ref: refs/heads/new\n", "packed-refs": f"{COMMIT} refs/heads/a\n"}, ""),
        ({"HEAD": "ref: refs/heads/new\n"}, ""),
        ({}, ""),
    ],
    ids=["detached", "loose", "packed", "unborn", "nothing packed", "no repository"],
)
def test_the_commit_of_a_checkout(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert checked_out(tmp_path) == expected


def test_a_package_knows_what_it_was_built_from(tmp_path: Path) -> None:
    (tmp_path / "build.json").write_text(json.dumps({"commit": COMMIT, "treeState": "clean", "date": "D"}))
    assert read_build_info(tmp_path) == BuildInfo(COMMIT, "clean", "D")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"commit": "a"}'])
def test_a_broken_note_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "build.json").write_text(text)
    assert read_build_info(tmp_path) == BuildInfo()


def test_clients_can_read_the_version() -> None:
    found = version_info()
    assert (found["major"], found["minor"], found["minCompatibilityMinor"]) == ("1", "36", "35")
    assert re.fullmatch(r"v1\.36\.\d+\+pyk3s[\d.]+", found["gitVersion"])
    assert re.fullmatch(r"([0-9a-f]{40})?", found["gitCommit"])
    assert found["gitTreeState"] in ("", "clean", "dirty")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["buildDate"])
    assert re.fullmatch(r"linux/[a-z0-9]+", found["platform"])


def test_the_build_notes_commit_state_and_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        return subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert build_hook.build_note(tmp_path) is None
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "first")
    note = {"commit": git("rev-parse", "HEAD"), "treeState": "clean", "date": "1970-01-01T00:00:01Z"}
    assert build_hook.build_note(tmp_path) == note
    (tmp_path / "new").touch()
    assert build_hook.build_note(tmp_path) == {**note, "treeState": "dirty"}
    assert checked_out(tmp_path / ".git") == note["commit"]
