"""Owner references that a client repeats are dropped, with a warning (``dedupOwnerReferencesAndAddWarning``)."""

from __future__ import annotations

from minikube_py.components.apiserver.types import RequestContext
from minikube_py.machinery.objects import Object

_REPEATED = (
    ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may "
    "reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {uids}"
)


def drop_repeated_owners(ctx: RequestContext, draft: Object, *, admitted: bool = False) -> None:
    """Keep the first of equal owner references of a private draft. ``admitted``: mutating admission is over."""
    owners = draft["metadata"].get("ownerReferences")
    if not owners or len(owners) == 1:
        return
    kept: list[Object] = []
    repeated: list[str] = []
    for owner in owners:
        if owner in kept:
            repeated.append(str(owner.get("uid") or ""))
        else:
            kept.append(owner)
    if repeated:
        draft["metadata"]["ownerReferences"] = kept
        when = " after mutating admission happens" if admitted else ""
        ctx.warnings.append(_REPEATED.format(when=when, uids=", ".join(repeated)))
