"""pyk3s: a lightweight Kubernetes in one asyncio process. See docs/architecture.md for the map."""

__version__ = "0.1.0"
KUBERNETES_VERSION = "v1.36.2"
