"""CEL rules of a schema (``x-kubernetes-validations``): compiled once, checked against objects.

``compile_rules`` makes a tree of the schema's places that have rules at or below them. ``RuleTree.errors`` checks
an object; rules over ``oldSelf`` only where there is a comparable old value (or with ``optionalOldSelf``).
What an update left as it was is forgiven with a warning. Costs are charged to one budget for each object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
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
from minikube_py.machinery.custom_resources.correlation import NOT_FOUND, old_items
from minikube_py.machinery.errors import FieldError, duplicate, forbidden_field, go_quote, invalid_value, required

Json = Mapping[str, Any]
Unchanged = Callable[[], bool]
"""Whether the part of the object that a rule looks at is as it was before the update."""

RULES = "x-kubernetes-validations"
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

    @property
    def uses_old(self) -> bool:
        return self.program is not None and "oldSelf" in self.program.names

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
    if not raw.get("messageExpression"):
        return Rule(raw, program, "", None, "")
    try:
        message = compile_expression(raw["messageExpression"], variables)
    except CompileError as error:
        return Rule(raw, program, "", None, f"messageExpression compilation failed: {error}")
    if message.result_type != STRING:
        return Rule(raw, program, "", None, "messageExpression must evaluate to a string")
    return Rule(raw, program, "", message, "")


@dataclass(frozen=True, slots=True)
class RuleTree:
    """A place in the schema: its own rules and the places below it that have some."""

    schema: Json
    rules: tuple[Rule, ...]
    properties: Mapping[str, RuleTree]
    additional: RuleTree | None
    items: RuleTree | None
    is_root: bool = False

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
        check = _Check(RUNTIME_TOTAL, [], warnings if warnings is not None else [])
        same = _never if old is NOT_FOUND or not forgiving else _narrowed(new, old, _never)
        check.forgiving, check.allowance = forgiving, allowance
        with suppress(_Stop):
            check.walk(self, path, new, old, same)
        return check.errors


def compile_rules(schema: Json, *, root: bool = True) -> RuleTree | None:
    """The rules of a resource's schema (``NewValidator``); None when it has none."""
    if not has_rules(schema):
        return None
    return _tree(schema, declared_type(schema, TYPE_NAME, root=root) or DYN, root)


def has_rules(schema: Json) -> bool:
    """Whether there is a rule anywhere in a schema."""
    if schema.get(RULES):
        return True
    if any(has_rules(inner) for inner in (schema.get("properties") or {}).values()):
        return True
    return any(isinstance(part, Mapping) and has_rules(part)
               for part in (schema.get("items"), schema.get("additionalProperties")))  # fmt: skip


def _tree(schema: Json, type: Type, root: bool) -> RuleTree | None:
    rules = tuple(compile_rule(raw, type) for raw in schema.get(RULES) or ())
    properties: dict[str, RuleTree] = {}
    for name, inner in (schema.get("properties") or {}).items():
        if not has_rules(inner):
            continue
        found = child_type(type, name, inner)
        tree = _tree(inner, found, is_embedded(inner)) if found is not None else None
        if tree is not None:
            properties[name] = tree
    parts: list[RuleTree | None] = []
    for key in ("additionalProperties", "items"):
        inner = schema.get(key)
        item = type.params[-1] if type.params else None
        if isinstance(inner, Mapping) and item is not None and has_rules(inner):
            parts.append(_tree(inner, item, is_embedded(inner)))
        else:
            parts.append(None)
    if not rules and not properties and not any(parts):
        return None
    return RuleTree(schema, rules, properties, parts[0], parts[1], root)


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
    """One object's check: what may still be spent, what was found."""

    left: int
    errors: list[FieldError]
    warnings: list[str]
    forgiving: bool = True
    allowance: int | None = None

    def walk(self, tree: RuleTree, path: str, new: Any, old: Any, unchanged: Unchanged) -> None:
        if new is None:
            return
        if tree.rules:
            self.run_rules(tree, path, new, old, unchanged)
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
            here = f"{path}.{key}" if path else key
            if inner is None:
                inner, here = tree.additional, f"{path}[{key}]"
                if inner is None:
                    continue
            found = before.get(key, NOT_FOUND)
            same = _narrowed(value, found, unchanged)
            if not path and key in _ROOT_ONLY:
                same = _never
            self.walk(inner, here, value, found if correlatable else NOT_FOUND, same)

    def run_rules(self, tree: RuleTree, path: str, new: Any, old: Any, unchanged: Unchanged) -> None:
        sort = tree.schema.get("type") or ""
        if self.left <= 0:
            self.stop(invalid_value(path or "<nil>", sort, _OUT_OF_BUDGET))
        for rule in tree.rules:
            if rule.problem:
                self.errors.append(invalid_value(path or "<nil>", sort, f"rule compile error: {rule.problem}"))
                continue
            optional = bool(rule.raw.get("optionalOldSelf"))
            absent = old is NOT_FOUND or old is None
            if rule.program is None or (rule.uses_old and absent and not optional):
                continue
            before = (NONE if absent else some(old)) if optional else (None if absent else old)
            self.run(rule, rule.program, path, sort, {"self": new, "oldSelf": before}, unchanged)

    def stop(self, error: FieldError) -> None:
        self.errors.append(error)
        raise _Stop

    def run(self, rule: Rule, program: Program, path: str, sort: str, variables: Json, unchanged: Unchanged) -> None:
        budget = Budget(self.per_call(), RUNTIME_TOTAL + PER_CALL)
        failure: EvaluationError | None = None
        result: Any = None
        try:
            result = program.run(variables, budget)[0]
        except EvaluationError as error:
            failure = error
        if isinstance(failure, BudgetExceeded) and self.allowance is not None:
            raise Costly
        self.charge(budget, path, sort)
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

    def per_call(self) -> int:
        """What the next evaluation may cost."""
        if self.allowance is None:
            return PER_CALL
        return max(0, min(PER_CALL, self.allowance - (RUNTIME_TOTAL - self.left)))

    def charge(self, budget: Budget, path: str, sort: str) -> None:
        spent = RUNTIME_TOTAL + PER_CALL - budget.left
        if spent > self.left:
            self.stop(invalid_value(path or "<nil>", sort, _OUT_OF_BUDGET))
        self.left -= spent

    def refuse(self, rule: Rule, path: str, sort: str, variables: Json, unchanged: Unchanged) -> None:
        """A rule is not kept: tell it, unless nothing that it looks at has changed."""
        where = rule.raw.get("fieldPath") or ""
        field = (f"{path}{where}" if path else where.removeprefix(".")) if where else path
        detail, fatal = self.message(rule, variables)
        if fatal:
            self.add(invalid_value(field or "<nil>", sort, detail), rule, unchanged)
            raise _Stop
        if not detail:
            given = (rule.raw.get("message") or "").strip()
            detail = given or f"failed rule: {rule.told()}"
        self.add(_reasoned(field or "<nil>", sort, detail, rule.raw.get("reason")), rule, unchanged)

    def add(self, error: FieldError, rule: Rule, unchanged: Unchanged) -> None:
        if self.forgiving and not rule.uses_old and unchanged():
            self.warnings.append(f"{error.field}: {error.body()}")
        else:
            self.errors.append(error)

    def message(self, rule: Rule, variables: Json) -> tuple[str, bool]:
        """The message that the rule's expression gives (empty: none that can be used); whether to stop."""
        if rule.message is None:
            return "", False
        budget = Budget(self.per_call(), RUNTIME_TOTAL + PER_CALL)
        source = go_quote(rule.raw["messageExpression"])
        text: Any = ""
        exceeded = False
        try:
            text = rule.message.evaluate(variables, budget=budget)
        except BudgetExceeded:
            if self.allowance is not None:
                raise Costly from None
            exceeded = True
        except EvaluationError:
            text = ""
        spent = RUNTIME_TOTAL + PER_CALL - budget.left
        if spent > self.left:
            told = "messageExpression evaluation failed due to running out of cost budget, no further validation rules "
            return told + "will be run", True
        if exceeded:
            told = "no further validation rules will be run due to call cost exceeds limit for messageExpression: "
            return told + source, True
        self.left -= spent
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
