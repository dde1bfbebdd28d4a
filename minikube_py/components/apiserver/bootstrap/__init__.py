"""What a new cluster contains before anybody has asked for anything."""

from minikube_py.components.apiserver.bootstrap.reconcile import ensure_bootstrap

__all__ = ["ensure_bootstrap"]
