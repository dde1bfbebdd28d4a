"""Gives Services of type LoadBalancer the addresses of this cluster's nodes."""

from __future__ import annotations

from minikube_py.components.servicelb.controller import run_servicelb

__all__ = ["run_servicelb"]
