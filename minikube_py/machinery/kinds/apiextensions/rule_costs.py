"""CEL rules of a definition's schema: they compile, and what they can cost stays within the limits.

Follows the CEL part of ``ValidateCustomResourceDefinitionOpenAPISchema`` with ``CELSchemaContext``: rules are
compiled against the type of their place; the estimated cost counts as often as the schema allows values there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from minikube_py.machinery.cel.schema_types import MAX_REQUEST, declared_type
from minikube_py.machinery.cel.types import Type
from minikube_py.machinery.custom_resources.rules import TYPE_NAME, Rule, child_type, compile_rule, is_embedded
from minikube_py.machinery.errors import FieldError, forbidden_field, invalid_value
from minikube_py.machinery.kinds.apiextensions.go_form import go_rule
from minikube_py.machinery.kinds.apiextensions.schema_walk import Json

MOST_FOR_RULE, MOST_FOR_SCHEMA = 10_000_000, 100_000_000
"""Estimated cost of one rule, of all rules of a schema."""
_ENDLESS = (1 << 64) - 1
_RULES = "x-kubernetes-validations"
_TOLD = 4


@dataclass(slots=True)
class Total:
    """What all rules of one schema cost, and the most expensive ones."""

    cost: int = 0
    expensive: list[tuple[int, str]] = field(default_factory=list)

    def add(self, path: str, cost: int) -> None:
        """Count a rule."""
        self.cost = min(_ENDLESS, self.cost + cost)
        if cost >= MOST_FOR_SCHEMA // 100:
            self.expensive.append((cost, path))
            self.expensive.sort(key=lambda entry: -entry[0])
            del self.expensive[_TOLD:]

    def errors(self, path: str) -> list[FieldError]:
        """The errors of a schema whose rules cost too much together."""
        if self.cost <= MOST_FOR_SCHEMA:
            return []
        text = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
        told = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        over = forbidden_field(path, too_expensive(told, self.cost, MOST_FOR_SCHEMA))
        return [*(forbidden_field(where, text) for _, where in self.expensive), over]


@dataclass(frozen=True, slots=True)
class RuleContext:
    """A place in the schema: its type, and how many values it can have (None: unbounded)."""

    schema: Json
    type: Type | None
    count: int | None
    total: Total
    uncorrelated: str = ""
    """The path of the list or map whose values have no old values to compare with."""

    def child(self, schema: Json, path: str, name: str | None) -> RuleContext:
        """The place of a property (``name``), or of the items and additional values; ``path`` is this place's."""
        found: Type | None = None
        if self.type is not None and name is not None:
            found = child_type(self.type, name, schema) if self.type.kind == "object" else None
        elif self.type is not None and self.type.params:
            found = self.type.params[-1]
        if found is None:
            found = declared_type(schema, TYPE_NAME, root=is_embedded(schema))
        factor = _factor(self.schema)
        count = None if self.count is None or factor is None else min(_ENDLESS, self.count * factor)
        return RuleContext(schema, found, count, self.total, self.uncorrelated or self.barrier(path))

    def barrier(self, path: str) -> str:
        """This path, when what is below has no counterpart in the old object."""
        sort = self.schema.get("type")
        if sort == "array" and self.schema.get("x-kubernetes-list-type") != "map":
            return path
        if sort == "object" and self.schema.get("x-kubernetes-map-type") not in (None, "granular"):
            return path
        return ""


def root_context(schema: Json) -> RuleContext:
    """The place of the whole resource."""
    return RuleContext(schema, declared_type(schema, TYPE_NAME, root=True), 1, Total())


def _factor(schema: Json) -> int | None:
    """How many values a value of a schema can hold; None where nothing bounds it."""
    key = "maxItems" if schema.get("type") == "array" else "maxProperties"
    if schema.get("type") == "array" or (schema.get("type") == "object" and schema.get("additionalProperties")):
        found = schema.get(key)
        return None if found is None else max(0, int(found))
    return 1


def rule_errors(path: str, context: RuleContext) -> list[FieldError]:
    """Errors of the rules of one place; ``path`` is that of its schema."""
    if context.type is None:
        text = "internal error: failed to construct type information for x-kubernetes-validations rules: unable to "
        return [
            FieldError("InternalError", f"{path}.{_RULES}", "", text + "convert structural schema to CEL declarations")
        ]
    errors: list[FieldError] = []
    for index, raw in enumerate(context.schema.get(_RULES) or ()):
        errors += _errors_of_rule(f"{path}.{_RULES}[{index}]", compile_rule(raw, context.type), context)
    return errors


def _errors_of_rule(path: str, rule: Rule, context: RuleContext) -> list[FieldError]:
    errors: list[FieldError] = []
    raw = rule.raw
    cost = _cost(rule, context)
    if cost > MOST_FOR_RULE:
        errors.append(forbidden_field(f"{path}.rule", too_expensive("estimated rule cost", cost, MOST_FOR_RULE)))
    context.total.add(f"{path}.rule", cost)
    if rule.problem:
        errors.append(invalid_value(f"{path}.rule", go_rule(raw), rule.problem))
    if rule.message_problem:
        errors.append(invalid_value(f"{path}.messageExpression", go_rule(raw), rule.message_problem))
    elif rule.message is not None:
        cost = rule.message.estimated_cost[1]
        if cost > MOST_FOR_RULE:
            text = too_expensive("estimated messageExpression cost", cost, MOST_FOR_RULE)
            errors.append(forbidden_field(f"{path}.messageExpression", text))
        context.total.add(f"{path}.messageExpression", cost)
    if rule.uses_old:
        if context.uncorrelated:
            text = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {context.uncorrelated}"
            errors.append(invalid_value(f"{path}.rule", raw.get("rule"), text))
    elif raw.get("optionalOldSelf") is not None:
        text = "may not be set if oldSelf is not used in rule"
        errors.append(invalid_value(f"{path}.optionalOldSelf", raw["optionalOldSelf"], text))
    return errors


def _cost(rule: Rule, context: RuleContext) -> int:
    """The estimated cost of a rule over all values that its place can have."""
    if rule.program is None:
        return 0
    each = rule.program.estimated_cost[1]
    count = context.count
    if count is None:
        least = context.type.min_serialized if context.type is not None else 0
        count = MAX_REQUEST // (least + 1)
    return min(_ENDLESS, each * count)


def too_expensive(told: str, cost: int, limit: int) -> str:
    """``getCostErrorMessage``."""
    factor = cost / limit
    shown = "more than 100x" if factor > 100 else f"{factor:f}x" if factor < 1.5 else f"{factor:.1f}x"
    return (
        f"{told} exceeds budget by factor of {shown} (try simplifying the rule, or adding maxItems, maxProperties, and "
        "maxLength where arrays, maps, and strings are declared)"
    )
