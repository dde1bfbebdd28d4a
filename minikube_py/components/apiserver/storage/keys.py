"""Datastore keys: ``/registry/<group or core>/<plural>/[namespace/]name``."""

from __future__ import annotations

from minikube_py.machinery.resources import Resource

ROOT = "/registry/"


def resource_prefix(resource: Resource) -> str:
    """The prefix under which all objects of a stored resource lie; it ends in a slash."""
    return f"{ROOT}{resource.group or 'core'}/{resource.plural}/"


def object_key(resource: Resource, namespace: str, name: str) -> str:
    """The key of one object; ``namespace`` is empty for cluster-scoped resources."""
    prefix = resource_prefix(resource)
    return f"{prefix}{namespace}/{name}" if namespace else prefix + name


def prefix_of(key: str) -> str:
    """The resource prefix that a key lies under; empty for keys of other shapes."""
    end = key.find("/", key.find("/", len(ROOT)) + 1)
    return key[: end + 1] if key.startswith(ROOT) and end > 0 else ""
