"""CEL rules of a schema (``x-kubernetes-validations``): compiled once, checked against objects.

``compile_rules`` makes a tree of the schema's places that have rules at or below them. ``RuleTree.errors`` checks
an object; rules over ``oldSelf`` only where there is a comparable old value (or with ``optionalOldSelf``).
What an update left as it was is forgiven with a warning. Costs are charged to one budget for each object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

from minikube_py.machinery.cel import (
    BOOL,
    DYN,
    NONE,
    PER_CALL,
    RUNTIME_TOTAL,
    STRING,
    Budget,
    BudgetExceeded,
    CompileError,
    EvaluationError,
    Program,
    Type,
    compile_expression,
    declared_type,
    optional_of,
    some,
)
from minikube_py.machinery.cel.schema_types import escape
from minikube_py.machinery.cel.values import equal
from minikube_py.machinery.cel_timing import cel_observer
from minikube_py.machinery.custom_resources.correlation import NOT_FOUND, old_items
from minikube_py.machinery.custom_resources.places import RULES, Place
from minikube_py.machinery.errors import FieldError, duplicate, forbidden_field, go_quote, invalid_value, required

Json = Mapping[str, Any]
Unchanged = Callable[[], bool]
"""Whether the part of the object that a rule looks at is as it was before the update."""

_RULES = "x-kubernetes-validations"
TYPE_NAME = "selfType1"
_LONGEST_MESSAGE = 5 * 1024
_OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"
_ROOT_ONLY = frozenset({"apiVersion", "kind"})


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule with its programs. ``problem`` and ``message_problem`` say why there is none."""

    raw: Json
    program: Program | None
    problem: str
    message: Program | None
    message_problem: str
    uses_old: bool = False
    optional_old: bool = False

    def told(self) -> str:
        """How errors name the rule."""
        return (self.raw.get("message") or "").strip() or (self.raw.get("rule") or "").strip()


def compile_rule(raw: Json, type: Type) -> Rule:
    """A rule for values of a type; problems are in Kubernetes' words."""
    text = (raw.get("rule") or "").strip()
    old = optional_of(type) if raw.get("optionalOldSelf") else type
    variables = {"self": type, "oldSelf": old}
    if not text:
        return Rule(raw, None, "", None, "")
    try:
        program = compile_expression(raw["rule"], variables)
    except CompileError as error:
        return Rule(raw, None, f"compilation failed: {error}", None, "")
    if program.result_type != BOOL:
        return Rule(raw, None, "cel expression must evaluate to a bool", None, "")
    rule = Rule(raw, program, "", None, "", "oldSelf" in program.names, bool(raw.get("optionalOldSelf")))
    if not raw.get("messageExpression"):
        return rule
    try:
        message = compile_expression(raw["messageExpression"], variables)
    except CompileError as error:
        return replace(rule, message_problem=f"messageExpression compilation failed: {error}")
    if message.result_type != STRING:
        return replace(rule, message_problem="messageExpression must evaluate to a string")
    return replace(rule, message=message)


@dataclass(frozen=True, slots=True)
class RuleTree:
    """A place in the schema: its own rules and the places below it that have some."""

    schema: Json
    rules: tuple[Rule, ...]
    properties: Mapping[str, RuleTree]
    additional: RuleTree | None
    items: RuleTree | None

    def errors(
        self,
        new: Any,
        old: Any = NOT_FOUND,
        path: str = "",
        *,
        warnings: list[str] | None = None,
        forgiving: bool = True,
        allowance: int | None = None,
    ) -> list[FieldError]:
        """Errors of a new object, or of an update from ``old``. ``Costly`` when they cost more than ``allowance``.

        Warnings of what is forgiven because it did not change go to ``warnings``; nothing is unless ``forgiving``.
        """
        check = _Check([], warnings if warnings is not None else [], forgiving, allowance)
        same = _never if old is NOT_FOUND or not forgiving else _narrowed(new, old, _never)
        with suppress(_Stop):
            check.walk(self, path, new, old, same)
        return check.errors


def compile_rules(place: Place, *, root: bool = True) -> RuleTree | None:
    """The rules of a resource's schema (``NewValidator``); None when it has none."""
    if not place.below & RULES:
        return None
    return _tree(place, declared_type(place.schema, TYPE_NAME, root=root) or DYN)


def _tree(place: Place, type: Type) -> RuleTree:
    schema = place.schema
    properties: dict[str, RuleTree] = {}
    for name, inner in place.properties.items():
        found = child_type(type, name, inner.schema) if inner.below & RULES else None
        if found is not None:
            properties[name] = _tree(inner, found)
    item = type.params[-1] if type.params else None

    def below(part: Place | None) -> RuleTree | None:
        if part is None or item is None or not part.below & RULES:
            return None
        return _tree(part, item)

    rules = tuple(compile_rule(raw, type) for raw in schema.get(_RULES) or ())
    return RuleTree(schema, rules, properties, below(place.additional), below(place.items))


def is_embedded(schema: Json) -> bool:
    """Whether values are resources themselves."""
    return bool(schema.get("x-kubernetes-embedded-resource"))


def child_type(type: Type, name: str, schema: Json) -> Type | None:
    """The type of a property: that of the object's field, or its own where its name cannot be escaped."""
    escaped = escape(name)
    if not escaped:
        return declared_type(schema, TYPE_NAME, root=is_embedded(schema))
    field = (type.fields or {}).get(escaped)
    return field.type if field is not None else None


class Costly(Exception):
    """The rules cost more than was allowed for now; nothing has been decided."""


class _Stop(Exception):
    """No further rules are run."""


@dataclass(slots=True)
class _Check:
    """One object's check: what was found, what may still be spent."""

    errors: list[FieldError]
    warnings: list[str]
    forgiving: bool
    allowance: int | None
    budget: Budget = field(default_factory=lambda: Budget(PER_CALL, RUNTIME_TOTAL + PER_CALL))
    """One for all rules, with a call more than all may cost: what is spent is looked at after each of them."""

    def walk(self, tree: RuleTree, path: str, new: Any, old: Any, unchanged: Unchanged) -> None:
        if new is None:
            return
        if tree.rules:
            self.timed_rules(tree, path, new, old, unchanged)
        if isinstance(new, list) and tree.items is not None:
            self.walk_list(tree, tree.items, path, new, old, unchanged)
        elif isinstance(new, dict):
            self.walk_object(tree, path, new, old, unchanged)

    def walk_list(
        self, tree: RuleTree, items: RuleTree, path: str, new: list[Any], old: Any, unchanged: Unchanged
    ) -> None:
        before = old_items(tree.schema, new, old)
        for index, item in enumerate(new):
            found = before(index)
            self.walk(items, f"{path}[{index}]", item, found, _narrowed(item, found, unchanged))

    def walk_object(self, tree: RuleTree, path: str, new: dict[str, Any], old: Any, unchanged: Unchanged) -> None:
        correlatable = tree.schema.get("x-kubernetes-map-type") in (None, "granular")
        before: dict[str, Any] = old if isinstance(old, dict) else {}
        for key, value in new.items():
            inner = tree.properties.get(key)
            if inner is not None:
                here = f"{path}.{key}" if path else key
            elif tree.additional is not None:
                inner, here = tree.additional, f"{path}[{key}]"
            else:
                continue
            found = before.get(key, NOT_FOUND)
            same = _narrowed(value, found, unchanged)
            if not path and key in _ROOT_ONLY:
                same = _never
            self.walk(inner, here, value, found if correlatable else NOT_FOUND, same)

    def timed_rules(self, tree: RuleTree, path: str, new: Any, old: Any, unchanged: Unchanged) -> None:
        """Run the rules of a place; how long they took together is told, as in Kubernetes."""
        observer, begin = cel_observer.get(), monotonic()
        try:
            self.run_rules(tree, path, new, old, unchanged)
        finally:
            if observer is not None:
                observer.evaluated(monotonic() - begin)

    def run_rules(self, tree: RuleTree, path: str, new: Any, old: Any, unchanged: Unchanged) -> None:
        sort = tree.schema.get("type") or ""
        if self.left() <= 0:
            self.stop(invalid_value(path or "<nil>", sort, _OUT_OF_BUDGET))
        absent = old is NOT_FOUND or old is None
        for rule in tree.rules:
            if rule.problem:
                self.errors.append(invalid_value(path or "<nil>", sort, f"rule compile error: {rule.problem}"))
                continue
            if rule.program is None or (rule.uses_old and absent and not rule.optional_old):
                continue
            before = (NONE if absent else some(old)) if rule.optional_old else (None if absent else old)
            self.run(rule, rule.program, path, sort, {"self": new, "oldSelf": before}, unchanged)

    def stop(self, error: FieldError) -> None:
        self.errors.append(error)
        raise _Stop

    def run(self, rule: Rule, program: Program, path: str, sort: str, variables: Json, unchanged: Unchanged) -> None:
        failure: EvaluationError | None = None
        result: Any = None
        self.budget.per_call = self.per_call()
        try:
            result = program.compute(variables, self.budget)[0]
        except EvaluationError as error:
            failure = error
        if isinstance(failure, BudgetExceeded) and self.allowance is not None:
            raise Costly
        if self.left() < 0:
            self.stop(invalid_value(path or "<nil>", sort, _OUT_OF_BUDGET))
        if isinstance(failure, BudgetExceeded):
            text = f"'{failure}': no further validation rules will be run due to call cost exceeds limit for rule: "
            self.stop(invalid_value(path or "<nil>", sort, text + rule.told()))
        elif failure is not None and str(failure).startswith("no such overload"):
            text = (
                f"'{failure}': call arguments did not match a supported operator, function or macro signature for "
                "rule: "
            )
            self.errors.append(invalid_value(path or "<nil>", sort, text + rule.told()))
        elif failure is not None:
            self.errors.append(invalid_value(path or "<nil>", sort, f"{failure} evaluating rule: {rule.told()}"))
        elif result is not True:
            self.refuse(rule, path, sort, variables, unchanged)

    def left(self) -> int:
        """What may still be spent."""
        return self.budget.left - PER_CALL

    def per_call(self) -> int:
        """What the next evaluation may cost."""
        if self.allowance is None:
            return PER_CALL
        return max(0, min(PER_CALL, self.allowance - (RUNTIME_TOTAL - self.left())))

    def refuse(self, rule: Rule, path: str, sort: str, variables: Json, unchanged: Unchanged) -> None:
        """A rule is not kept: tell it, unless nothing that it looks at has changed."""
        where = rule.raw.get("fieldPath") or ""
        at = (f"{path}{where}" if path else where.removeprefix(".")) if where else path
        detail, fatal = self.message(rule, variables)
        if fatal:
            self.add(invalid_value(at or "<nil>", sort, detail), rule, unchanged)
            raise _Stop
        if not detail:
            given = (rule.raw.get("message") or "").strip()
            detail = given or f"failed rule: {rule.told()}"
        self.add(_reasoned(at or "<nil>", sort, detail, rule.raw.get("reason")), rule, unchanged)

    def add(self, error: FieldError, rule: Rule, unchanged: Unchanged) -> None:
        if self.forgiving and not rule.uses_old and unchanged():
            self.warnings.append(f"{error.field}: {error.body()}")
        else:
            self.errors.append(error)

    def message(self, rule: Rule, variables: Json) -> tuple[str, bool]:
        """The message that the rule's expression gives (empty: none that can be used); whether to stop."""
        if rule.message is None:
            return "", False
        self.budget.per_call = self.per_call()
        source = go_quote(rule.raw["messageExpression"])
        text: Any = ""
        exceeded = False
        try:
            text = rule.message.evaluate(variables, budget=self.budget)
        except BudgetExceeded:
            if self.allowance is not None:
                raise Costly from None
            exceeded = True
        except EvaluationError:
            text = ""
        if self.left() < 0:
            told = "messageExpression evaluation failed due to running out of cost budget, no further validation rules "
            return told + "will be run", True
        if exceeded:
            told = "no further validation rules will be run due to call cost exceeds limit for messageExpression: "
            return told + source, True
        trimmed = text.strip() if isinstance(text, str) else ""
        usable = trimmed and len(trimmed.encode()) <= _LONGEST_MESSAGE and "\n" not in trimmed
        return (trimmed if usable else ""), False


def _never() -> bool:
    return False


def _narrowed(new: Any, old: Any, unchanged: Unchanged) -> Unchanged:
    return unchanged if old is NOT_FOUND else lambda: equal(new, old)


def _reasoned(field: str, value: str, detail: str, reason: str | None) -> FieldError:
    if reason == "FieldValueForbidden":
        return forbidden_field(field, detail)
    if reason == "FieldValueRequired":
        return required(field, detail)
    if reason == "FieldValueDuplicate":
        return duplicate(field, value)
    return invalid_value(field, value, detail)
