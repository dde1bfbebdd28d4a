"""Every built-in kind that Kubernetes v1.36 serves by default.

One module declares one kind; modules lie in packages by API group. ``builtin_kinds`` is the only
entry point. The order is discovery's order: the core group first, then groups by falling priority,
versions of a group by falling priority, kinds of a version by their plural.

Kinds that are answered but never stored (reviews, bindings, ComponentStatus) carry
``extra={"virtual": True}``.
"""

from __future__ import annotations

from functools import cache

from minikube_py.machinery.kind import Kind


@cache
def builtin_kinds() -> tuple[Kind, ...]:
    """All built-in kinds, in discovery's order."""
    from minikube_py.machinery.kinds import (
        admissionregistration,
        apiextensions,
        apiregistration,
        apps,
        authentication,
        authorization,
        autoscaling,
        batch,
        certificates,
        coordination,
        core,
        discovery,
        events,
        flowcontrol,
        networking,
        node,
        policy,
        rbac,
        resource,
        scheduling,
        storage,
    )

    packages = (
        core, apiregistration, apps, events, authentication, authorization, autoscaling, batch, certificates,
        networking, policy, rbac, storage, admissionregistration, apiextensions, scheduling, coordination, node,
        discovery, resource, flowcontrol,
    )  # fmt: skip
    return tuple(kind for package in packages for kind in package.KINDS)
