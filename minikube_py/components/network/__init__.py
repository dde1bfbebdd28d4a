"""The pod network of a node: its CNI configuration and the guard routes around it."""

from __future__ import annotations

from minikube_py.components.network.cni import NetworkSettings
from minikube_py.components.network.component import remove_network, run_network

__all__ = ["NetworkSettings", "remove_network", "run_network"]
