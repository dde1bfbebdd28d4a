"""Whether a type can stand for another one, with type parameters bound on the way.

Follows cel-go's ``checker/types.go``: a mapping from parameters to types grows by success and is left alone by
failure; ``dyn`` and the type of an error agree with everything.
"""

from __future__ import annotations

from collections.abc import Sequence

from minikube_py.machinery.cel.types import DYN, Type, accepts_null

Mapping = dict[Type, Type]
_WILD = ("dyn", "error")


def agree(mapping: Mapping, left: Sequence[Type], right: Sequence[Type]) -> Mapping | None:
    """The mapping under which every ``left`` is assignable to its ``right``; None when there is none."""
    if len(left) != len(right):
        return None
    copy = dict(mapping)
    for one, other in zip(left, right, strict=True):
        if not _assignable(copy, one, other):
            return None
    return copy


def _assignable(mapping: Mapping, left: Type, right: Type) -> bool:
    if right.kind == "param":
        valid, known = _substitution(mapping, left, right)
        if valid or known:
            return valid
    if left.kind == "param":
        return _substitution(mapping, right, left)[0]
    if left.kind in _WILD or right.kind in _WILD:
        return True
    if left.kind == "null_type":
        return accepts_null(right)
    if right.kind == "null_type":
        return accepts_null(left)
    if left.kind != right.kind:
        return False
    if left.kind == "type":
        return True
    if left.kind in ("opaque", "list", "map"):
        return (
            left.name == right.name
            and len(left.params) == len(right.params)
            and all(_assignable(mapping, one, other) for one, other in zip(left.params, right.params, strict=True))
        )
    return left == right


def _substitution(mapping: Mapping, type: Type, parameter: Type) -> tuple[bool, bool]:
    """Whether a type can be what a parameter stands for, and whether the parameter stood for something before."""
    if type == parameter:
        return True, True
    bound = mapping.get(parameter)
    if bound is not None:
        if type == bound:
            return True, True
        if not _assignable(mapping, type, bound):
            return False, True
        general = most_general(type, bound)
        if not _refers(mapping, parameter, general):
            mapping[parameter] = general
        return True, True
    if _refers(mapping, parameter, type):
        return False, False
    mapping[parameter] = type
    return True, False


def _refers(mapping: Mapping, parameter: Type, within: Type) -> bool:
    if within == parameter:
        return True
    if within.kind == "param":
        bound = mapping.get(within)
        return bound is not None and _refers(mapping, parameter, bound)
    return any(_refers(mapping, parameter, part) for part in within.params)


def most_general(left: Type, right: Type) -> Type:
    """The less specific one of two types that agree."""
    return left if _less_specific(left, right) else right


def _less_specific(left: Type, right: Type) -> bool:
    if left.kind in ("dyn", "param"):
        return True
    if right.kind in ("dyn", "param") or left.kind != right.kind:
        return False
    if left.kind in ("opaque", "list", "map"):
        return left.name == right.name and all(
            _less_specific(one, other) for one, other in zip(left.params, right.params, strict=True)
        )
    return left.kind == "type" or left == right


def substitute(mapping: Mapping, type: Type, *, free_is_dyn: bool) -> Type:
    """The type with parameters replaced by what they stand for; unbound ones become dyn on demand."""
    if type.kind == "param":
        bound = mapping.get(type)
        if bound is not None:
            return substitute(mapping, bound, free_is_dyn=free_is_dyn)
        return DYN if free_is_dyn else type
    if not type.params:
        return type
    params = tuple(substitute(mapping, part, free_is_dyn=free_is_dyn) for part in type.params)
    if params == type.params:
        return type
    return Type(type.kind, type.name, params)
