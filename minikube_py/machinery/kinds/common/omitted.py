"""Field errors that print no value (``field.OmitValueType``)."""

from __future__ import annotations

from dataclasses import dataclass

from minikube_py.machinery.errors import FieldError


@dataclass(frozen=True, slots=True)
class _WithoutValue(FieldError):
    """An ``Invalid value`` error whose text follows the prefix directly."""

    def body(self) -> str:
        return f"Invalid value: {self.detail}"


def invalid_without_value(path: str, text: str) -> FieldError:
    """``Invalid value: text``, with no value between."""
    return _WithoutValue("FieldValueInvalid", path, None, text)
