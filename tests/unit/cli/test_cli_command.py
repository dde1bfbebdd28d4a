"""The command line: one line for what is wrong, exit code 1; help and version."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minikube_py.tools import ToolMissing, find_kubectl, tools_folder


def pyk3s(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "minikube_py.cli", *arguments], capture_output=True, text=True, timeout=30, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["server", "--no-such"], "No such option", id="unknown flag"),
        pytest.param(["server", "--https-listen-port", "x"], "is not a valid integer", id="not a number"),
        pytest.param(["server", "--log-format", "xml"], "is not one of", id="not a choice"),
        pytest.param(["server", "--node-ip", "x"], "--node-ip: 'x' is not an IP address", id="not an address"),
        pytest.param(["server", "--config", "/no/file"], "/no/file does not exist", id="no configuration file"),
        pytest.param(["serve"], "No such command", id="unknown command"),
        pytest.param(["images", "import", "/no/file"], "does not exist", id="no archive"),
    ],
)
def test_one_line_and_exit_code_1(arguments: list[str], says: str) -> None:
    done = pyk3s(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("pyk3s: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_lists_every_setting() -> None:
    done = pyk3s("server", "--help")
    assert done.returncode == 0
    for name in ("--data-dir", "--disable-agent", "--token-auth-file", "--tls-san", "--node-taint"):
        assert name in done.stdout


def test_version_names_kubernetes() -> None:
    assert "Kubernetes v1.36" in pyk3s("--version").stdout


def test_kubectl_comes_from_path_when_there_is_no_private_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "empty"))
    with pytest.raises(ToolMissing, match="scripts/fetch_tools"):
        find_kubectl(str(tmp_path))
    program = tmp_path / "kubectl"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert find_kubectl(str(tmp_path)) == program
    private = tools_folder() / "kubectl"
    private.parent.mkdir(parents=True)
    private.write_text("#!/bin/sh\n")
    private.chmod(0o755)
    assert find_kubectl(str(tmp_path)) == private
