"""Type checking of validating policies: warnings about expressions that do not fit the kinds they are about.

A policy's expressions see ``object`` as dynamic when they run. Here they are compiled once more with the
schemas of the kinds that the policy's rules name outright (no wildcards, at most ten for each rule); what does
not compile becomes a warning in the status and changes nothing else. Follows ``policy/validating/typechecking.go``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from minikube_py.components.apiserver.admission.policies.params import read_param_kind
from minikube_py.components.apiserver.admission.subjects import GroupVersionKind
from minikube_py.components.apiserver.registry.kinds import Kinds, schema_of
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.admissionregistration.expressions import declared
from minikube_py.machinery.objects import Object
from minikube_py.machinery.schema import Schema

if TYPE_CHECKING:
    from minikube_py.machinery.cel import Type

most_kinds = 10


def expression_warnings(policy: Object, kinds: Kinds) -> list[Object]:
    """``status.typeChecking.expressionWarnings`` of a stored policy."""
    spec = policy.get("spec") or {}
    scopes = list(_scopes(spec, kinds))
    found: list[Object] = []
    for index, validation in enumerate(spec.get("validations") or ()):
        for name in ("expression", "messageExpression"):
            text = str(validation.get(name) or "")
            warning = "\n".join(issue for scope in scopes if (issue := scope.issue(text))) if text else ""
            if warning:
                found.append({"fieldRef": f"spec.validations[{index}].{name}", "warning": warning})
    return found


@dataclass(frozen=True, slots=True)
class _Scope:
    """The variables of a policy's expressions when the request is about one kind."""

    seen: GroupVersionKind
    variables: Mapping[str, Type]

    def issue(self, text: str) -> str:
        """What is wrong with an expression for this kind; empty when nothing is."""
        from minikube_py.machinery.cel import CompileError, compile_expression

        try:
            compile_expression(text, self.variables)
        except CompileError as error:
            return f"{self.seen}: {error}\n"
        return ""


def _scopes(spec: Mapping[str, Any], kinds: Kinds) -> Iterable[_Scope]:
    types = SchemaTypes()
    chosen = {kind.resource: kind for kind in kinds_to_check(spec.get("matchConstraints") or {}, kinds)}
    reference = read_param_kind(spec.get("paramKind"))
    params = kinds.by_kind(reference.api_version, reference.kind) if reference is not None else None
    for resource in sorted(chosen, key=lambda found: (found.group, found.version, found.kind)):
        known = dict(declared(params=False, authorizer=True))
        known["object"] = known["oldObject"] = types.of(schema_of(chosen[resource]), resource.kind)
        if params is not None:
            known["params"] = types.of(schema_of(params), params.resource.kind)
        known["variables"] = _variables(spec.get("variables") or (), known)
        yield _Scope(GroupVersionKind(resource.group, resource.version, resource.kind), known)


def _variables(variables: Iterable[Mapping[str, Any]], known: Mapping[str, Type]) -> Type:
    from minikube_py.machinery.cel import DYN, CompileError, Field, compile_expression, object_type

    fields: dict[str, Field] = {}
    for variable in variables:
        name = str(variable.get("name") or "")
        here = {**known, "variables": object_type("kubernetes.variables", dict(fields))}
        try:
            found = compile_expression(str(variable.get("expression") or ""), here).result_type
        except CompileError:
            found = DYN
        fields[name] = Field(name, found)
    return object_type("kubernetes.variables", fields)


def kinds_to_check(constraints: Mapping[str, Any], kinds: Kinds) -> Iterable[Kind]:
    """The kinds that the rules of a policy name without wildcards."""
    for rule in constraints.get("resourceRules") or ():
        groups, versions = sorted(rule.get("apiGroups") or ()), sorted(rule.get("apiVersions") or ())
        if any("*" in text for text in (*groups, *versions)):
            continue
        plurals = sorted(text for text in rule.get("resources") or () if "*" not in text and "/" not in text)
        named = ((group, version, plural) for group in groups for version in versions for plural in plurals)
        found = [kind for key in named if (kind := kinds.get(*key)) is not None]
        yield from found[:most_kinds]


@dataclass(slots=True)
class SchemaTypes:
    """The types of schemas, built-in ones included; a definition is made into a type once."""

    _made: dict[str, Type] = field(default_factory=dict)

    def of(self, schema: Schema, name: str) -> Type:
        """The type of a schema's values; what has no shape, or contains itself, is dynamic."""
        from minikube_py.machinery.cel import DYN

        if not schema.name:
            return self._of(schema, name)
        if schema.name not in self._made:
            self._made[schema.name] = DYN
            self._made[schema.name] = self._of(schema, name)
        return self._made[schema.name]

    def _of(self, schema: Schema, name: str) -> Type:
        from minikube_py.machinery.cel import DYN, list_of, map_of

        if schema.int_or_string or schema.preserve_unknown or schema.format in ("quantity", "int-or-string"):
            return DYN
        if schema.type == "array" and schema.items is not None:
            return list_of(self.of(schema.items, f"{name}.@idx"))
        if schema.properties:
            return self._object(schema, name)
        if schema.additional is not None:
            return map_of(_scalar("string", ""), self.of(schema.additional, f"{name}.@elem"))
        return _scalar(schema.type, schema.format)

    def _object(self, schema: Schema, name: str) -> Type:
        from minikube_py.machinery.cel import Field, object_type
        from minikube_py.machinery.cel.tokens import KEYWORDS

        fields: dict[str, Field] = {}
        for key, inner in schema.properties.items():
            fields[key] = Field(key, self.of(inner, f"{name}.{key}"))
            if key in KEYWORDS:
                fields[f"__{key}__"] = fields[key]
        return object_type(name, fields)


def _scalar(sort: str, format: str) -> Type:
    from minikube_py.machinery.cel import BOOL, BYTES, DOUBLE, DURATION, DYN, INT, STRING, TIMESTAMP

    if sort == "string":
        texts = {"byte": BYTES, "duration": DURATION, "date": TIMESTAMP, "date-time": TIMESTAMP}
        return {**texts, "time": TIMESTAMP, "micro-time": TIMESTAMP}.get(format, STRING)
    return {"boolean": BOOL, "number": DOUBLE, "integer": INT}.get(sort, DYN)
