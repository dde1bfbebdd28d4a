"""StorageClass: how volumes are provisioned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, duplicate, invalid_value, not_supported, required, too_long
from minikube_py.machinery.kind import Cell, Kind
from minikube_py.machinery.kinds.common.checks import Errors, duplicates, one_of, qualified_name
from minikube_py.machinery.kinds.common.node_labels import DEPRECATED_LABELS
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name
from minikube_py.machinery.kinds.common.setting import set_default
from minikube_py.machinery.kinds.common.strategy import defaults, immutable
from minikube_py.machinery.objects import Object, annotations_of
from minikube_py.machinery.resources import STORAGE_CLASSES

DEFINITION = "io.k8s.api.storage.v1.StorageClass"
_DEFAULTS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_MAX_PARAMETERS = 512
_MAX_PARAMETER_BYTES = 256 * 1024


def fill(storage_class: Object) -> None:
    """Volumes are deleted with their claims and bound at once, unless it says otherwise."""
    set_default(storage_class, reclaimPolicy="Delete", volumeBindingMode="Immediate")


def validate(storage_class: Object) -> list[FieldError]:
    """``ValidateStorageClass``."""
    provisioner = storage_class.get("provisioner") or ""
    errors: Errors = []
    if not provisioner:
        errors.append(required("provisioner"))
    else:
        errors += qualified_name("provisioner", provisioner.lower())
    errors += parameter_errors(storage_class.get("parameters") or {})
    policy, mode = storage_class.get("reclaimPolicy") or "", storage_class.get("volumeBindingMode")
    if policy and policy not in ("Delete", "Retain"):
        errors.append(not_supported("reclaimPolicy", policy, ("Delete", "Retain")))
    if mode is None:
        errors.append(required("volumeBindingMode"))
    else:
        errors += one_of("volumeBindingMode", mode, ("Immediate", "WaitForFirstConsumer"))
    return errors + _topology_errors(storage_class.get("allowedTopologies") or ())


def parameter_errors(parameters: Mapping[str, str]) -> Errors:
    """Not too many, no empty keys, 256 KiB at most."""
    if len(parameters) > _MAX_PARAMETERS:
        return [too_long("parameters", _MAX_PARAMETERS)]
    errors: Errors = [invalid_value("parameters", key, "field can not be empty.") for key in parameters if not key]
    if sum(len(key) + len(value) for key, value in parameters.items()) > _MAX_PARAMETER_BYTES:
        errors.append(too_long("parameters", _MAX_PARAMETER_BYTES))
    return errors


def _topology_errors(terms: Sequence[Mapping[str, Any]]) -> Errors:
    """``validateAllowedTopologies``. What a term is compared with starts out as one empty term for each."""
    errors: Errors = []
    before: list[dict[str, frozenset[str]]] = [{} for _ in terms]
    for index, term in enumerate(terms):
        errors += _term_errors(f"allowedTopologies[{index}]", term)
        asked = {each.get("key") or "": frozenset(each.get("values") or ()) for each in _expressions(term)}
        errors += [duplicate(f"allowedTopologies[{index}].matchLabelExpressions", "") for other in before
                   if other == asked]  # fmt: skip
        before.append(asked)
    return errors


def _expressions(term: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return term.get("matchLabelExpressions") or ()


def _term_errors(path: str, term: Mapping[str, Any]) -> Errors:
    """``ValidateTopologySelectorTerm``."""
    errors: Errors = []
    keys: set[str] = set()
    for number, wanted in enumerate(_expressions(term)):
        where, key, values = f"{path}.matchLabelExpressions[{number}]", wanted.get("key") or "", wanted.get("values")
        if not values:
            errors.append(required(f"{where}.values"))
        errors += duplicates(f"{where}.values", values or ())
        errors += qualified_name(f"{where}.key", key)
        if key in keys:
            errors.append(duplicate(f"{where}.key", key))
        keys.add(key)
    return errors


def fixed_parameters(obj: Object, old: Object) -> list[FieldError]:
    """Parameters of a class never change; Go prints maps in the order of their keys."""
    new, before = (dict(sorted((each.get("parameters") or {}).items())) or None for each in (obj, old))
    return immutable("parameters", new, before)


def validate_update(storage_class: Object, old: Object) -> list[FieldError]:
    """Everything that shapes volumes stays as it is."""
    errors = validate(storage_class) + fixed_parameters(storage_class, old)
    for field in ("provisioner", "reclaimPolicy", "volumeBindingMode"):
        errors += immutable(field, storage_class.get(field), old.get(field))
    return errors


def warnings(storage_class: Object, old: Object | None) -> list[str]:
    """Topologies that ask for deprecated labels of nodes."""
    return [
        f"allowedTopologies[{index}].matchLabelExpressions[{number}].key: {DEPRECATED_LABELS[wanted['key']]}"
        for index, term in enumerate(storage_class.get("allowedTopologies") or ())
        for number, wanted in enumerate(term.get("matchLabelExpressions") or ())
        if wanted.get("key") in DEPRECATED_LABELS
    ]


def row(storage_class: Mapping[str, Any], now: float) -> Sequence[Cell]:
    called = name(storage_class)
    if any(annotations_of(storage_class).get(key) == "true" for key in _DEFAULTS):
        called += " (default)"
    return (
        called,
        storage_class.get("provisioner") or "",
        storage_class.get("reclaimPolicy") or "Delete",
        storage_class.get("volumeBindingMode") or "Immediate",
        bool(storage_class.get("allowVolumeExpansion")),
        age(storage_class, now),
    )


KIND = Kind(
    resource=STORAGE_CLASSES,
    singular="storageclass",
    definition=DEFINITION,
    short_names=("sc",),
    default=defaults(DEFINITION, fill),
    validate=validate,
    validate_update=validate_update,
    warnings=warnings,
    columns=(
        NAME,
        column("Provisioner", f"{DEFINITION}.provisioner"),
        column("ReclaimPolicy", f"{DEFINITION}.reclaimPolicy"),
        column("VolumeBindingMode", f"{DEFINITION}.volumeBindingMode"),
        column("AllowVolumeExpansion", f"{DEFINITION}.allowVolumeExpansion"),
        AGE,
    ),
    row=row,
)
