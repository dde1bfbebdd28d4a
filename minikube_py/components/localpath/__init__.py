"""Storage without an administrator: claims of class ``local-path`` get folders of the node their pod runs on."""

from __future__ import annotations

from minikube_py.components.localpath.folders import run_folders
from minikube_py.components.localpath.provisioner import run_provisioner

__all__ = ["run_folders", "run_provisioner"]
