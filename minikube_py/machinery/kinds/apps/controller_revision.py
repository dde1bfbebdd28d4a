"""ControllerRevision: a stored state of a StatefulSet or DaemonSet, for rolling back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, invalid_value, required
from minikube_py.machinery.kind import Cell, Kind
from minikube_py.machinery.kinds.common.checks import non_negative
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name
from minikube_py.machinery.kinds.common.strategy import wire_form
from minikube_py.machinery.objects import Object, RawObject, thaw
from minikube_py.machinery.owners import controller_of
from minikube_py.machinery.raw_texts import text_of
from minikube_py.machinery.resources import CONTROLLER_REVISIONS

DEFINITION = "io.k8s.api.apps.v1.ControllerRevision"


def prepare_update(revision: Object, old: Object) -> None:
    """Data that has the form of Go's encoder keeps it, whatever form it comes back in.

    The reference refuses the other form, which only spoils the work of clients that keep no bytes, such as Python's.
    """
    data, before = revision.get("data"), old.get("data")
    if isinstance(data, RawObject) and not isinstance(before, RawObject) and data == before:
        revision["data"] = thaw(before)


def validate(revision: Object) -> list[FieldError]:
    """``ValidateControllerRevision``."""
    errors: list[FieldError] = []
    if revision.get("data") is None:
        errors.append(required("data", "data is mandatory"))
    return errors + non_negative("revision", revision.get("revision"))


def validate_update(revision: Object, old: Object) -> list[FieldError]:
    """The data never changes, nor do the bytes in which it was written."""
    new, before = revision.get("data"), old.get("data")
    if text_of(new) != text_of(before):
        return [*validate(revision), invalid_value("data", new, "field is immutable")]
    return validate(revision)


def row(revision: Mapping[str, Any], now: float) -> Sequence[Cell]:
    owner = controller_of(revision)
    shown = "<none>"
    if owner is not None:
        group = str(owner.get("apiVersion") or "").rpartition("/")[0]
        kind = str(owner.get("kind") or "").lower()
        shown = f"{kind}.{group}/{owner.get('name')}" if group else f"{kind}/{owner.get('name')}"
    return (name(revision), shown, revision.get("revision", 0), age(revision, now))


KIND = Kind(
    resource=CONTROLLER_REVISIONS,
    singular="controllerrevision",
    definition=DEFINITION,
    default=wire_form(DEFINITION),
    prepare_update=prepare_update,
    validate=validate,
    validate_update=validate_update,
    columns=(
        NAME,
        column("Controller", text="Controller of the object"),
        column("Revision", f"{DEFINITION}.revision"),
        AGE,
    ),
    row=row,
)
