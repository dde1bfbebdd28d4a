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
        pytest.param(["agent"], "--server is missing", id="a worker without a server"),
        pytest.param(["agent", "--join", "h:1"], "--server: 'h:1' is not https://HOST:PORT", id="k3s's other name"),
        pytest.param(["agent", "--server", "https://h:1", "--disable-agent"], "No such option", id="a server's flag"),
        pytest.param(["images", "import", "/no/file"], "does not exist", id="no archive"),
        pytest.param(["images", "import", __file__], "cannot read image archive", id="an archive that is none"),
        pytest.param(["server", "--node-ip=127.0.0.1"], "that no other host can reach", id="a node nobody reaches"),
        pytest.param(["server", "extra"], "unexpected extra argument", id="an argument too many"),
        pytest.param(["certificate", "check", "-d", __file__], "Not a directory", id="a file for a folder"),
        pytest.param(["token", "list", "--kubeconfig", __file__], "is not YAML", id="a kubeconfig that is none"),
        pytest.param(["token", "create", "--kubeconfig", "/no/file"], "cannot read kubeconfig", id="no kubeconfig"),
        pytest.param(["kubectl", "get", "pods"], "cannot read /no/kubeconfig: run as root", id="kubectl, no server"),
    ],
)
def test_one_line_and_exit_code_1(arguments: list[str], says: str) -> None:
    done = pyk3s(*arguments, KUBECONFIG="", PYK3S_WRITE_KUBECONFIG="/no/kubeconfig")
    assert done.returncode == 1
    assert done.stderr.startswith("pyk3s: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_lists_every_setting() -> None:
    done = pyk3s("server", "--help")
    assert done.returncode == 0
    for name in ("--data-dir", "--disable-agent", "--token-auth-file", "--tls-san", "--node-taint"):
        assert name in done.stdout


@pytest.mark.parametrize("group", ["", "certificate", "datastore", "images", "plugins", "secrets-encrypt", "token"])
def test_a_group_alone_shows_its_commands(group: str) -> None:
    done = pyk3s(*group.split())
    assert done.returncode == 0 and not done.stderr
    assert done.stdout.startswith("Usage: ") and "Commands:" in done.stdout


@pytest.mark.parametrize(
    "arguments", [["--kubeconfig=/x", "get", "pods"], ["version", "--client"], ["completion", "bash"], []]
)
def test_kubectl_runs_without_a_server_where_it_needs_none(arguments: list[str], tmp_path: Path) -> None:
    program = tmp_path / "kubectl"
    program.write_text('#!/bin/sh\necho "kubectl $*"\n')
    program.chmod(0o755)
    code = f"""
import sys
sys.prefix = {str(tmp_path)!r}
from minikube_py.tools import run_kubectl
run_kubectl({arguments!r}, {{"PATH": {str(tmp_path)!r} + ":/bin", "PYK3S_WRITE_KUBECONFIG": "/no/kubeconfig"}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, " ".join(["kubectl", *arguments]))


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
