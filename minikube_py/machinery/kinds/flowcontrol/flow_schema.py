"""FlowSchema: sorts requests into priority levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, forbidden_field, invalid_value, not_supported, required
from minikube_py.machinery.kind import Cell, Kind, Subresource
from minikube_py.machinery.kinds.common.checks import Errors, label, one_of, subdomain
from minikube_py.machinery.kinds.common.printing import AGE, NAME, age, column, name, part
from minikube_py.machinery.kinds.common.setting import child, set_default
from minikube_py.machinery.kinds.common.strategy import defaults, fresh_status, keep_metadata
from minikube_py.machinery.kinds.flowcontrol.mandatory import schema_errors, status_errors
from minikube_py.machinery.names import dns1123_label_errors
from minikube_py.machinery.objects import Object, name_of
from minikube_py.machinery.resources import Resource

DEFINITION = "io.k8s.api.flowcontrol.v1.FlowSchema"
_PRECEDENCE = 1000
_MAX_PRECEDENCE = 10000
_METHODS = ("ByNamespace", "ByUser")
_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
_SUBJECTS = {"Group": "group", "ServiceAccount": "serviceAccount", "User": "user"}


def fill(schema: Object) -> None:
    """Requests match at precedence 1000 unless it says otherwise."""
    set_default(child(schema, "spec"), matchingPrecedence=_PRECEDENCE)


def validate(schema: Object) -> list[FieldError]:
    """``ValidateFlowSchema``."""
    spec = schema.get("spec") or {}
    precedence = spec.get("matchingPrecedence") or 0
    errors: Errors = []
    if precedence <= 0:
        errors.append(invalid_value("spec.matchingPrecedence", precedence, "must be a positive value"))
    if precedence > _MAX_PRECEDENCE:
        text = f"must not be greater than {_MAX_PRECEDENCE}"
        errors.append(invalid_value("spec.matchingPrecedence", precedence, text))
    if precedence == 1 and name_of(schema) != "exempt":
        text = "only the schema named 'exempt' may have matchingPrecedence 1"
        errors.append(invalid_value("spec.matchingPrecedence", precedence, text))
    method = spec.get("distinguisherMethod")
    if method is not None:
        sort = method.get("type") or ""
        if sort not in _METHODS:
            errors.append(not_supported("spec.distinguisherMethod.type", {"Type": sort}, _METHODS))
    level = (spec.get("priorityLevelConfiguration") or {}).get("name") or ""
    path = "spec.priorityLevelConfiguration.name"
    errors += subdomain(path, level) if level else [required(path, "must reference a priority level")]
    for index, rule in enumerate(spec.get("rules") or ()):
        errors += _rule_errors(f"spec.rules[{index}]", rule)
    return errors + schema_errors(schema) + status_errors(schema)


def _rule_errors(path: str, rule: Mapping[str, Any]) -> Errors:
    subjects, resources, others = (
        rule.get("subjects") or (), rule.get("resourceRules") or (), rule.get("nonResourceRules") or ()
    )  # fmt: skip
    errors: Errors = []
    if not subjects:
        errors.append(required(f"{path}.subjects", "subjects must contain at least one value"))
    for index, subject in enumerate(subjects):
        errors += _subject_errors(f"{path}.subjects[{index}]", subject)
    if not resources and not others:
        errors.append(required(path, "at least one of resourceRules and nonResourceRules has to be non-empty"))
    for index, entry in enumerate(resources):
        errors += _resource_rule_errors(f"{path}.resourceRules[{index}]", entry)
    for index, entry in enumerate(others):
        field = f"{path}.nonResourceRules[{index}]"
        errors += _verb_errors(f"{field}.verbs", entry.get("verbs") or [])
        errors += _url_errors(f"{field}.nonResourceURLs", entry.get("nonResourceURLs") or [])
    return errors


def _url_errors(path: str, urls: Sequence[str]) -> Errors:
    if not urls:
        return [required(path, "nonResourceURLs must contain at least one value")]
    if "*" in urls:
        text = "if '*' is present, must not specify other non-resource URLs"
        return [invalid_value(path, list(urls), text)] if len(urls) > 1 else []
    found = [(f"{path}[{index}]", url, _url_problem(url)) for index, url in enumerate(urls)]
    return [invalid_value(field, url, text) for field, url, text in found if text]


def _url_problem(url: str) -> str:
    """``ValidateNonResourceURLPath``."""
    if not url:
        return "must not be empty"
    if url == "/":
        return ""
    if not url.startswith("/"):
        return "must start with slash"
    if " " in url:
        return "must not contain white-space"
    if "//" in url:
        return "must not contain double slash"
    if url.count("*") > 1 or ("*" in url and not url.endswith("/*")):
        return "wildcard can only do suffix matching"
    return ""


def _subject_errors(path: str, subject: Mapping[str, Any]) -> Errors:
    kind = subject.get("kind") or ""
    if kind not in _SUBJECTS:
        return one_of(f"{path}.kind", kind, _SUBJECTS)
    field = _SUBJECTS[kind]
    found = subject.get(field)
    if found is None:
        errors: Errors = [required(f"{path}.{field}", f"{field} is required when subject kind is '{kind}'")]
    else:
        errors = [] if found.get("name") else [required(f"{path}.{field}.name")]
        if kind == "ServiceAccount":
            errors += _account_errors(f"{path}.{field}", found)
    for other in ("ServiceAccount", "User", "Group"):
        name_ = _SUBJECTS[other]
        if other != kind and subject.get(name_) is not None:
            text = f"{name_} is forbidden when subject kind is not '{other}'"
            errors.append(forbidden_field(f"{path}.{name_}", text))
    return errors


def _account_errors(path: str, account: Mapping[str, Any]) -> Errors:
    called, namespace = account.get("name") or "", account.get("namespace") or ""
    errors = subdomain(f"{path}.name", called) if called not in ("", "*") else []
    if namespace:
        return errors + label(f"{path}.namespace", namespace)
    return [*errors, required(f"{path}.namespace", "must specify namespace for service account")]


def _resource_rule_errors(path: str, rule: Mapping[str, Any]) -> Errors:
    errors = _verb_errors(f"{path}.verbs", rule.get("verbs") or [])
    for field, what in (("apiGroups", "api group"), ("resources", "resource")):
        values: Sequence[str] = rule.get(field) or ()
        if not values:
            errors.append(required(f"{path}.{field}", f"resource rules must supply at least one {what}"))
        elif len(values) > 1 and "*" in values:
            text = f"if '*' is present, must not specify other {what}s"
            errors.append(invalid_value(f"{path}.{field}", list(values), text))
    namespaces = rule.get("namespaces") or ()
    if not namespaces and not rule.get("clusterScope"):
        text = "resource rules that are not cluster scoped must supply at least one namespace"
        errors.append(required(f"{path}.namespaces", text))
    elif "*" in namespaces:
        if len(namespaces) > 1:
            text = "if '*' is present, must not specify other namespaces"
            errors.append(invalid_value(f"{path}.namespaces", list(namespaces), text))
    else:
        intro = "each member of this list must be '*' or a DNS-1123 label; "
        for index, called in enumerate(namespaces):
            field = f"{path}.namespaces[{index}]"
            errors += [invalid_value(field, called, intro + text) for text in dns1123_label_errors(called)]
    return errors


def _verb_errors(path: str, verbs: Sequence[str]) -> Errors:
    if not verbs:
        return [required(path, "verbs must contain at least one value")]
    if "*" in verbs:
        text = "if '*' is present, must not specify other verbs"
        return [invalid_value(path, list(verbs), text)] if len(verbs) > 1 else []
    return [] if set(verbs) <= set(_VERBS) else [not_supported(path, list(verbs), _VERBS)]


def row(schema: Mapping[str, Any], now: float) -> Sequence[Cell]:
    spec = part(schema, "spec")
    dangling = next((c for c in part(schema, "status").get("conditions") or () if c.get("type") == "Dangling"), None)
    missing = "?" if dangling is None else str(dangling.get("status") or "")
    return (
        name(schema),
        part(spec, "priorityLevelConfiguration").get("name") or "",
        spec.get("matchingPrecedence", 0),
        part(spec, "distinguisherMethod").get("type") or "<none>",
        age(schema, now),
        missing,
    )


def table_order(schema: Mapping[str, Any]) -> tuple[int, str]:
    """Tables list schemas in the order in which they are tried."""
    return part(schema, "spec").get("matchingPrecedence", 0), name(schema)


KIND = Kind(
    resource=Resource("flowcontrol.apiserver.k8s.io", "v1", "flowschemas", "FlowSchema", namespaced=False),
    singular="flowschema",
    definition=DEFINITION,
    subresources=(Subresource("status"),),
    default=defaults(DEFINITION, fill),
    prepare_create=fresh_status(DEFINITION),
    prepare_status=keep_metadata,
    validate=validate,
    validate_update=lambda new, old: validate(new),
    validate_status=lambda new, old: status_errors(new),
    generation=True,
    has_status=True,
    columns=(
        NAME,
        column("PriorityLevel", f"{DEFINITION}Spec.priorityLevelConfiguration"),
        column("MatchingPrecedence", f"{DEFINITION}Spec.matchingPrecedence"),
        column("DistinguisherMethod", f"{DEFINITION}Spec.distinguisherMethod"),
        AGE,
        column("MissingPL", text="References a broken or non-existent PriorityLevelConfiguration"),
    ),
    row=row,
    extra={"table_order": table_order},
)
