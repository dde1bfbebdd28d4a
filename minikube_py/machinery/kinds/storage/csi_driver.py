"""CSIDriver: what a storage driver needs and can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, duplicate, invalid_value, required
from minikube_py.machinery.kind import Cell, Kind
from minikube_py.machinery.kinds.common.checks import Errors, one_of, one_of_in_order
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, joined, name, part
from minikube_py.machinery.kinds.common.setting import child, set_default
from minikube_py.machinery.kinds.common.strategy import defaults, immutable
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import Resource

DEFINITION = "io.k8s.api.storage.v1.CSIDriver"
_SPEC = f"{DEFINITION}Spec"
_MIN_SECONDS = 600
_MAX_SECONDS = 2**32
_MIN_PERIOD_SECONDS = 10


def fill(driver: Object) -> None:
    """``SetDefaults_CSIDriver``."""
    spec = child(driver, "spec")
    set_default(
        spec,
        attachRequired=True,
        podInfoOnMount=False,
        storageCapacity=False,
        fsGroupPolicy="ReadWriteOnceWithFSType",
        requiresRepublish=False,
        seLinuxMount=False,
    )
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


def prepare_update(driver: Object, old: Object) -> None:
    """``csiDriverStrategy.PrepareForUpdate``: changes are counted, from none for a driver that never changed."""
    if driver.get("spec") != old.get("spec"):
        driver["metadata"]["generation"] = (old["metadata"].get("generation") or 0) + 1


def validate(driver: Object) -> list[FieldError]:
    """``ValidateCSIDriver``."""
    spec = driver.get("spec") or {}
    errors: Errors = []
    for field in ("attachRequired", "podInfoOnMount", "storageCapacity"):
        if spec.get(field) is None:
            errors.append(required(f"spec.{field if field != 'attachRequired' else 'attachedRequired'}"))
    if spec.get("fsGroupPolicy") is not None:
        errors += one_of("spec.fsGroupPolicy", spec["fsGroupPolicy"], ("File", "None", "ReadWriteOnceWithFSType"))
    errors += _token_errors("spec.tokenRequests", spec.get("tokenRequests") or ())
    for mode in spec.get("volumeLifecycleModes") or ():
        errors += one_of_in_order("spec.volumeLifecycleModes", mode, ("Persistent", "Ephemeral"))
    if spec.get("seLinuxMount") is None:
        errors.append(required("spec.seLinuxMount"))
    period = spec.get("nodeAllocatableUpdatePeriodSeconds")
    if period is not None and period < _MIN_PERIOD_SECONDS:
        text = f"must be greater than or equal to {_MIN_PERIOD_SECONDS} seconds"
        errors.append(invalid_value("spec.nodeAllocatableUpdatePeriodSeconds", period, text))
    return errors


def _token_errors(path: str, requests: Sequence[Mapping[str, Any]]) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for index, request in enumerate(requests):
        field, audience, seconds = f"{path}[{index}]", request.get("audience") or "", request.get("expirationSeconds")
        if audience in seen:
            errors.append(duplicate(f"{field}.audience", audience))
            continue
        seen.add(audience)
        if seconds is not None and seconds < _MIN_SECONDS:
            text = "may not specify a duration less than 10 minutes"
            errors.append(invalid_value(f"{field}.expirationSeconds", seconds, text))
        if seconds is not None and seconds > _MAX_SECONDS:
            text = "may not specify a duration larger than 2^32 seconds"
            errors.append(invalid_value(f"{field}.expirationSeconds", seconds, text))
    return errors


def validate_update(driver: Object, old: Object) -> list[FieldError]:
    """How volumes are attached and what they live for never changes."""
    spec, before = driver.get("spec") or {}, old.get("spec") or {}
    errors = validate(driver)
    errors += immutable("spec.attachedRequired", spec.get("attachRequired"), before.get("attachRequired"))
    modes = (each.get("volumeLifecycleModes") for each in (spec, before))
    return errors + immutable("spec.volumeLifecycleModes", *modes)


def warnings(driver: Object, old: Object | None) -> list[str]:
    """Tokens in volume attributes may be logged."""
    spec = driver.get("spec") or {}
    if spec.get("tokenRequests") and spec.get("serviceAccountTokenInSecrets") is None:
        return ["spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent "
                "possible logging of tokens in volume attributes"]  # fmt: skip
    return []


def row(driver: Mapping[str, Any], now: float) -> Sequence[Cell]:
    spec = part(driver, "spec")
    tokens = [request.get("audience") or "" for request in spec.get("tokenRequests") or ()]
    return (
        name(driver),
        spec.get("attachRequired") is not False,
        bool(spec.get("podInfoOnMount")),
        bool(spec.get("storageCapacity")),
        joined(tokens) if tokens else "<unset>",
        bool(spec.get("requiresRepublish")),
        joined(spec.get("volumeLifecycleModes") or ()) or "<none>",
        age(driver, now),
    )


KIND = Kind(
    resource=Resource("storage.k8s.io", "v1", "csidrivers", "CSIDriver", namespaced=False),
    singular="csidriver",
    definition=DEFINITION,
    default=defaults(DEFINITION, fill),
    prepare_update=prepare_update,
    validate=validate,
    validate_update=validate_update,
    warnings=warnings,
    unconditional_update=False,
    columns=(
        NAME,
        column("AttachRequired", f"{_SPEC}.attachRequired", type="boolean"),
        column("PodInfoOnMount", f"{_SPEC}.podInfoOnMount", type="boolean"),
        column("StorageCapacity", f"{_SPEC}.storageCapacity", type="boolean"),
        column("TokenRequests", f"{_SPEC}.tokenRequests"),
        column("RequiresRepublish", f"{_SPEC}.requiresRepublish", type="boolean"),
        column("Modes", f"{_SPEC}.volumeLifecycleModes"),
        AGE,
    ),
    row=row,
)
