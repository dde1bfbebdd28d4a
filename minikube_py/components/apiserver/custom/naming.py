"""Names, conditions and stored versions in a definition's status (apiextensions' naming and establishing controllers).

In: a definition and the names that others of its group use. Out: its status, written into a private draft.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from minikube_py.components.apiserver.custom.kinds import stored_version, wanted_names
from minikube_py.machinery.conditions import condition_is_true, find_condition, remove_condition, set_condition
from minikube_py.machinery.errors import go_quote
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.apiextensions.approval import Approval, approval_of, is_protected
from minikube_py.machinery.objects import Object

_SINGLE = (
    ("plural", "PluralConflict"),
    ("singular", "SingularConflict"),
    ("shortNames", "ShortNamesConflict"),
    ("kind", "KindConflict"),
    ("listKind", "ListKindConflict"),
)


@dataclass(frozen=True, slots=True)
class Taken:
    """What others of the group are called: resources (plural, singular, short names) and kinds (and their lists)."""

    resources: frozenset[str]
    kinds: frozenset[str]


def taken_names(kinds: Iterable[Kind], group: str, definition: str) -> Taken:
    """The names in use in a group, apart from those of one definition."""
    resources: set[str] = set()
    names: set[str] = set()
    for kind in kinds:
        if kind.resource.group != group or kind.extra.get("custom") == definition:
            continue
        resources |= {kind.resource.plural, kind.singular, *kind.short_names}
        names |= {kind.resource.kind, kind.list_kind}
    return Taken(frozenset(resources), frozenset(names))


def write_status(crd: Object, taken: Taken, now: float) -> None:
    """Bring the status of a draft up to date; ``now`` is Unix seconds."""
    status = crd.setdefault("status", {})
    conditions: list[Object] = status.get("conditions") or []
    status["conditions"] = conditions
    names, accepted = _names(crd, taken)
    status["acceptedNames"] = names
    set_condition(conditions, accepted, now)
    if accepted["status"] == "True":
        set_condition(conditions, _ESTABLISHED, now)
    elif not condition_is_true(conditions, "Established"):
        set_condition(conditions, _NOT_ESTABLISHED, now)
    _write_schema_condition(crd, conditions, now)
    _write_approval_condition(crd, conditions, now)
    stored: list[str] = status.get("storedVersions") or []
    status["storedVersions"] = stored
    version = stored_version(crd)
    if version and version not in stored:
        stored.append(version)


_ESTABLISHED: Object = {
    "type": "Established",
    "status": "True",
    "reason": "InitialNamesAccepted",
    "message": "the initial names have been accepted",
}
_NOT_ESTABLISHED: Object = {
    "type": "Established",
    "status": "False",
    "reason": "NotAccepted",
    "message": "not all names are accepted",
}


def _names(crd: Object, taken: Taken) -> tuple[Object, Object]:
    """The names that the definition has from now on, and its NamesAccepted condition.

    A name that is taken stays what it was; the others are accepted.
    """
    wanted = wanted_names(crd)
    had: Object = (crd.get("status") or {}).get("acceptedNames") or {}
    names: Object = {"plural": had.get("plural") or "", "kind": had.get("kind") or ""}
    for field in ("singular", "shortNames", "listKind"):
        if had.get(field):
            names[field] = had[field]
    condition: Object = {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts"}
    condition["message"] = "no conflicts found"
    for field, reason in _SINGLE:
        others = taken.kinds if field in ("kind", "listKind") else taken.resources
        problem = _conflict(wanted.get(field), had.get(field), others)
        if problem:
            condition.update(status="False", reason=reason, message=problem)
        elif wanted.get(field):
            names[field] = wanted[field]
        else:
            names.pop(field, None)
    if wanted.get("categories"):
        names["categories"] = wanted["categories"]
    return names, condition


def _conflict(wanted: str | list[str] | None, had: str | list[str] | None, taken: frozenset[str]) -> str:
    """Why a name, or one of several, cannot be accepted; empty when it can."""
    mine = had if isinstance(had, list) else [had]
    asked = wanted if isinstance(wanted, list) else [wanted]
    found = [f"{go_quote(name)} is already in use" for name in asked if name and name not in mine and name in taken]
    return found[0] if len(found) == 1 else f"[{', '.join(found)}]" if found else ""


def _write_schema_condition(crd: Object, conditions: list[Object], now: float) -> None:
    """``NonStructuralSchema`` for definitions from times when schemas need not be structural."""
    from minikube_py.machinery.kinds.apiextensions.hoisted import hoist
    from minikube_py.machinery.kinds.apiextensions.structural import conversion_error, structural_errors

    problems: list[str] = []
    for index, version in enumerate(hoist(crd["spec"]).schemas()):
        path = f"spec.versions[{index}].schema.openAPIV3Schema"
        unreadable = conversion_error(version)
        problems += [f"{path}: Invalid value: \"\": {unreadable}"] if unreadable else [
            f"{error.field}: {error.body()}" for error in structural_errors(path, version)
        ]  # fmt: skip
    if problems:
        message = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        condition: Object = {"type": "NonStructuralSchema", "status": "True", "reason": "Violations"}
        set_condition(conditions, {**condition, "message": message}, now)
    elif find_condition(conditions, "NonStructuralSchema") is not None:
        remove_condition(conditions, "NonStructuralSchema")


def _write_approval_condition(crd: Object, conditions: list[Object], now: float) -> None:
    """``KubernetesAPIApprovalPolicyConformant`` of definitions in groups of the Kubernetes community."""
    if is_protected(crd):
        state, text = approval_of(crd)
        status = "True" if state is Approval.APPROVED else "False"
        condition: Object = {"type": "KubernetesAPIApprovalPolicyConformant", "status": status, "reason": state.value}
        set_condition(conditions, {**condition, "message": text}, now)


def set_terminating(crd: Object, reason: str, message: str, now: float, *, done: bool = False) -> None:
    """Say in a draft's status how far the removal of its objects is."""
    status = crd.setdefault("status", {})
    conditions: list[Object] = status.get("conditions") or []
    status["conditions"] = conditions
    condition: Object = {"type": "Terminating", "status": "False" if done else "True", "reason": reason}
    set_condition(conditions, {**condition, "message": message}, now)
