"""Finds and runs kubectl: the copy in the package's private tools folder, else the one on PATH."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from minikube_py.config import load_settings


class ToolMissing(Exception):
    """No kubectl; the text says how to get one."""


def tools_folder() -> Path:
    """Where ``scripts/fetch_tools`` puts kubectl and helm: inside the environment the package runs in."""
    return Path(sys.prefix) / "share" / "pyk3s" / "tools"


def find_kubectl(search_path: str) -> Path:
    """The kubectl to use. Raises ToolMissing."""
    private = tools_folder() / "kubectl"
    if os.access(private, os.X_OK):
        return private
    found = shutil.which("kubectl", path=search_path)
    if found is None:
        raise ToolMissing(
            f"no kubectl on PATH or in {tools_folder()}: run scripts/fetch_tools, or install kubectl 1.36"
        )
    return Path(found)


def run_kubectl(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Replace this process by kubectl; KUBECONFIG, when unset, is the one that this host's server writes.

    Raises ToolMissing, ConfigError.
    """
    path = find_kubectl(environment.get("PATH", os.defpath))
    kubeconfig = environment.get("KUBECONFIG") or load_settings({}, environment).write_kubeconfig
    if not (environment.get("KUBECONFIG") or os.access(kubeconfig, os.R_OK) or _needs_no_kubeconfig(arguments)):
        raise ToolMissing(f"cannot read {kubeconfig}: run as root beside a server, or set KUBECONFIG")
    os.execve(path, ["kubectl", *arguments], {**environment, "KUBECONFIG": kubeconfig})


def _needs_no_kubeconfig(arguments: Sequence[str]) -> bool:
    """Whether kubectl is told which cluster it is to talk to, or needs none."""
    return not arguments or any(
        one.startswith(
            ("--kubeconfig", "--server", "-s", "--help", "-h", "--client", "help", "completion", "kustomize")
        )
        for one in arguments
    )
