"""IP families of Services: what a request means for the families that the cluster has (``initIPFamilyFields``).

In: a draft with what the client asked for, the stored Service, and the configured families, the default one
first. Out: ``ipFamilies`` and ``ipFamilyPolicy`` are complete; addresses are given by the allocator.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from minikube_py.machinery.errors import ApiError, FieldError, invalid, invalid_value
from minikube_py.machinery.kinds.core.service_validation import cluster_ip_errors
from minikube_py.machinery.objects import Object

NONE = "None"
_POLICY = "spec.ipFamilyPolicy"
_SINGLE, _PREFER, _REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"


def refused(draft: Object, errors: Sequence[FieldError]) -> ApiError:
    """422 for a Service."""
    return invalid("", "Service", str(draft["metadata"].get("name") or ""), errors)


def keeps_preference(spec: Object, old: Object | None) -> bool:
    """Whether an update leaves a Service that prefers two families as it is.

    Such a Service gains or loses no family because the cluster did (``isMatchingPreferDualStackClusterIPFields``).
    """
    before = (old or {}).get("spec") or {}
    return (
        old is not None
        and spec.get("ipFamilyPolicy") == _PREFER == before.get("ipFamilyPolicy")
        and all(_same(spec, before, field) for field in ("type", "clusterIPs", "ipFamilies"))
    )


def settle_families(draft: Object, spec: Object, old: Object | None, configured: Sequence[str]) -> None:
    """Complete families and policy of a Service that is no ExternalName. ApiError 422."""
    before: Object = (old or {}).get("spec") or {}
    anywhere = spec.get("clusterIP") == NONE and not spec.get("selector")
    if not spec.get("ipFamilyPolicy"):
        spec["ipFamilyPolicy"] = before.get("ipFamilyPolicy") or (_REQUIRE if anywhere else _SINGLE)
    wrong = cluster_ip_errors(spec)
    if wrong:
        raise refused(draft, wrong)
    errors = _change_errors(spec, before) if old is not None else []
    errors += _single_errors(spec)
    errors += _infer(spec, configured)
    if errors:
        raise refused(draft, errors)
    families: list[str] = spec.get("ipFamilies") or [configured[0]]
    if not anywhere:
        errors = _configured_errors(spec, configured)
        if errors:
            raise refused(draft, errors)
    if len(families) == 1 and spec["ipFamilyPolicy"] != _SINGLE and (anywhere or len(configured) == 2):
        families = [families[0], "IPv6" if families[0] == "IPv4" else "IPv4"]
    spec["ipFamilies"] = families


def _change_errors(spec: Object, before: Object) -> list[FieldError]:
    """Going back to one family is said by the policy; lists that were not touched are then cut."""
    policy = spec["ipFamilyPolicy"]
    errors: list[FieldError] = []
    for field, what in (("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")):
        listed, was = spec.get(field) or [], before.get(field) or []
        if policy == _SINGLE:
            if listed == was and len(listed) > 1:
                spec[field] = listed[:1]
        elif len(listed) == 1 and len(was) == 2 and listed[0] == was[0]:
            text = f"must be 'SingleStack' to release the secondary {what}"
            errors.append(invalid_value(_POLICY, policy, text))
    return errors


def _single_errors(spec: Object) -> list[FieldError]:
    policy = spec["ipFamilyPolicy"]
    if policy != _SINGLE:
        return []
    return [
        invalid_value(
            _POLICY, policy, f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
        )
        for field, what in (("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families"))
        if len(spec.get(field) or ()) == 2
    ]


def _infer(spec: Object, configured: Sequence[str]) -> list[FieldError]:
    """Addresses tell their families."""
    errors: list[FieldError] = []
    addresses: list[str] = spec.get("clusterIPs") or []
    families: list[str] = list(spec.get("ipFamilies") or ())
    for index, address in enumerate(addresses):
        if address == NONE:
            break
        family = f"IPv{ipaddress.ip_address(address).version}"
        if index < len(families):
            continue
        if family in configured:
            families.append(family)
        else:
            text = f"{family} is not configured on this cluster"
            errors.append(invalid_value(f"spec.clusterIPs[{index}]", list(addresses), text))
    if families:
        spec["ipFamilies"] = families
    return errors


def _configured_errors(spec: Object, configured: Sequence[str]) -> list[FieldError]:
    errors: list[FieldError] = []
    if spec["ipFamilyPolicy"] == _REQUIRE and len(configured) < 2:
        text = "this cluster is not configured for dual-stack services"
        errors.append(invalid_value(_POLICY, _REQUIRE, text))
    errors += [
        invalid_value(f"spec.ipFamilies[{index}]", family, "not configured on this cluster")
        for index, family in enumerate(spec.get("ipFamilies") or ())
        if family not in configured
    ]
    return errors


def _same(left: Object, right: Object, field: str) -> bool:
    found: list[Any] = [obj.get(field) or None for obj in (left, right)]
    return bool(found[0] == found[1])
