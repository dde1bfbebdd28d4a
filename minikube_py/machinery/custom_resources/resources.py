"""Validation of whole objects of a custom kind, new and changed (``customResourceStrategy``)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from minikube_py.machinery.custom_resources.correlation import NOT_FOUND
from minikube_py.machinery.custom_resources.embedded import embedded_errors
from minikube_py.machinery.custom_resources.lists import list_errors
from minikube_py.machinery.custom_resources.places import Place
from minikube_py.machinery.custom_resources.rules import Costly, RuleTree, compile_rules
from minikube_py.machinery.custom_resources.values import (
    ValueCheck,
    changed_value_errors,
    compile_values,
    value_errors,
)
from minikube_py.machinery.errors import FieldError, invalid_value
from minikube_py.machinery.kind import TakesLong
from minikube_py.machinery.objects import Object

Json = Mapping[str, Any]
_ALLOWANCE = 15_000
"""Cost of rules that is run at once, a few milliseconds; what costs more belongs in a thread."""
_INT32 = (1 << 31) - 1
_BLOCKING = frozenset(
    {
        "FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany",
        "FieldValueTypeInvalid",
    }
)  # fmt: skip
_BLOCKED = (
    "some validation rules were not checked because the object was invalid; correct the existing errors to complete "
    "validation"
)


@dataclass(slots=True)
class ResourceValidator:
    """Validation by one version's schema; its checks and CEL rules are compiled when the first object comes."""

    places: Place
    scale: Json | None = None
    _compiled: tuple[ValueCheck, RuleTree | None] | None = field(default=None, repr=False)

    def compiles(self) -> bool:
        """Whether the next object will have to wait for the compiler."""
        return self._compiled is None

    def compiled(self) -> tuple[ValueCheck, RuleTree | None]:
        """The schema's checks of values, and its rules."""
        if self._compiled is None:
            self._compiled = compile_values(self.places.schema), compile_rules(self.places)
        return self._compiled

    def new_errors(self, obj: Object) -> list[FieldError]:
        """Errors of a new object, apart from those of its metadata. ``TakesLong`` when its rules cost much."""
        try:
            return self._new_errors(obj, _ALLOWANCE)
        except Costly:
            raise TakesLong(partial(self._new_errors, obj, None)) from None

    def changed_errors(self, obj: Object, old: Object) -> list[FieldError]:
        """Errors of a changed object; what was wrong before and did not change is forgiven. ``TakesLong``."""
        try:
            return self._changed_errors(obj, old, _ALLOWANCE)
        except Costly:
            raise TakesLong(partial(self._changed_errors, obj, old, None)) from None

    def _new_errors(self, obj: Object, allowance: int | None) -> list[FieldError]:
        values, rules = self.compiled()
        errors = value_errors(values, obj) + self.scale_errors(obj)
        errors += embedded_errors(self.places, obj)
        errors += list_errors(self.places, obj)
        return _with_rules(rules, errors, obj, None, allowance)

    def _changed_errors(self, obj: Object, old: Object, allowance: int | None) -> list[FieldError]:
        values, rules = self.compiled()
        errors = changed_value_errors(values, obj, old) + self.scale_errors(obj)
        errors += embedded_errors(self.places, obj)
        repeated = list(list_errors(self.places, obj))
        if repeated and not any(True for _ in list_errors(self.places, old)):
            errors += repeated
        return _with_rules(rules, errors, obj, old, allowance)

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        """What the rules object to in parts that an update left alone; nothing where looking costs much."""
        rules = self.compiled()[1] if old is not None else None
        found: list[str] = []
        if rules is not None:
            with suppress(Costly):
                rules.errors(obj, old, warnings=found, allowance=_ALLOWANCE)
        return found

    def scale_errors(self, obj: Object) -> list[FieldError]:
        """``ValidateScaleSpec`` and ``ValidateScaleStatus``: counts are int32 and not negative."""
        if self.scale is None:
            return []
        errors: list[FieldError] = []
        for name in ("specReplicasPath", "statusReplicasPath"):
            path = self.scale.get(name) or ""
            found: Any = obj
            for part in path.removeprefix(".").split("."):
                found = found.get(part) if isinstance(found, dict) else None
            if isinstance(found, bool) or not isinstance(found, int):
                continue
            if found < 0:
                errors.append(invalid_value(path, found, "should be a non-negative integer"))
            elif found > _INT32:
                errors.append(invalid_value(path, found, f"should be less than or equal to {_INT32}"))
        return errors


def _with_rules(
    rules: RuleTree | None, errors: list[FieldError], obj: Object, old: Object | None, allowance: int | None
) -> list[FieldError]:
    """The errors and those of the CEL rules, which are run on objects of the right shape only."""
    if rules is None:
        return errors
    if any(error.type in _BLOCKING for error in errors):
        return [*errors, invalid_value("<nil>", None, _BLOCKED)]
    before = NOT_FOUND if old is None else old
    return errors + rules.errors(obj, before, allowance=allowance)
