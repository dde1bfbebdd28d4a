"""Defaults and validation that both sorts of webhook configurations share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.machinery.errors import FieldError, duplicate, invalid_value, required, too_many
from minikube_py.machinery.kinds.admissionregistration.expressions import BOOLEAN, Scope, expression_errors
from minikube_py.machinery.kinds.common.checks import Errors, label_selector_errors, named, one_of, qualified_name
from minikube_py.machinery.kinds.common.go_url import parse_url
from minikube_py.machinery.kinds.common.setting import items, set_default
from minikube_py.machinery.names import dns1035_label_errors, dns1123_subdomain_errors, in_range_errors
from minikube_py.machinery.objects import Object

_VERSIONS = ("v1", "v1beta1")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_MAX_CONDITIONS = 64
_SCOPES = ("*", "Cluster", "Namespaced")


def default_rules(owner: Object, field: str) -> None:
    """Rules hold in every scope unless they say otherwise."""
    for rule in items(owner, field):
        set_default(rule, scope="*")


def default_webhooks(configuration: Object, **more: Any) -> None:
    """``SetDefaults_ValidatingWebhook``; ``more`` is what a mutating one has beside it."""
    for webhook in items(configuration, "webhooks"):
        set_default(webhook, failurePolicy="Fail", matchPolicy="Equivalent", namespaceSelector={}, objectSelector={})
        set_default(webhook, timeoutSeconds=10, **more)
        service = (webhook.get("clientConfig") or {}).get("service")
        if service is not None:
            set_default(service, port=443)
        default_rules(webhook, "rules")


def webhook_errors(configuration: Object, *, mutating: bool) -> Errors:
    """``ValidateValidatingWebhookConfiguration`` and its mutating kin."""
    errors: Errors = []
    seen: set[str] = set()
    for index, webhook in enumerate(configuration.get("webhooks") or ()):
        path, called = f"webhooks[{index}]", webhook.get("name") or ""
        errors += _webhook_errors(path, webhook, mutating)
        errors += _version_errors(f"{path}.admissionReviewVersions", webhook.get("admissionReviewVersions") or [])
        if called in seen:
            errors.append(duplicate(f"{path}.name", called))
        seen.add(called)
    return errors


def _version_errors(path: str, versions: Sequence[str]) -> Errors:
    if not versions:
        return [required(path, "must specify one of v1, v1beta1")]
    errors: Errors = []
    for at, version in enumerate(versions):
        field = f"{path}[{at}]"
        errors += (
            [duplicate(field, version)] if version in versions[:at] else named(field, version, dns1035_label_errors)
        )
    if not any(version in _VERSIONS for version in versions):
        errors.append(invalid_value(path, list(versions), "must include at least one of v1, v1beta1"))
    return errors


def _webhook_errors(path: str, webhook: Mapping[str, Any], mutating: bool) -> Errors:
    called = webhook.get("name") or ""
    errors = _domain_errors(f"{path}.name", called)
    for index, rule in enumerate(webhook.get("rules") or ()):
        errors += rule_errors(f"{path}.rules[{index}]", rule)
    if webhook.get("failurePolicy") is not None:
        errors += one_of(f"{path}.failurePolicy", webhook["failurePolicy"], ("Fail", "Ignore"))
    if webhook.get("matchPolicy") is not None:
        errors += one_of(f"{path}.matchPolicy", webhook["matchPolicy"], ("Equivalent", "Exact"))
    effects = webhook.get("sideEffects")
    if effects is None:
        errors.append(required(f"{path}.sideEffects", "must specify one of None, NoneOnDryRun"))
    else:
        errors += one_of(f"{path}.sideEffects", effects, ("None", "NoneOnDryRun"))
    seconds = webhook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= 30:
        text = "the timeout value must be between 1 and 30 seconds"
        errors.append(invalid_value(f"{path}.timeoutSeconds", seconds, text))
    for field in ("namespaceSelector", "objectSelector"):
        errors += label_selector_errors(f"{path}.{field}", webhook.get(field))
    errors += client_config_errors(f"{path}.clientConfig", webhook.get("clientConfig") or {})
    if mutating and webhook.get("reinvocationPolicy") is not None:
        errors += one_of(f"{path}.reinvocationPolicy", webhook["reinvocationPolicy"], ("IfNeeded", "Never"))
    return errors + condition_errors(f"{path}.matchConditions", webhook.get("matchConditions") or ())


def _domain_errors(path: str, value: str) -> Errors:
    """``IsFullyQualifiedName``."""
    if not value:
        return [required(path)]
    wrong = dns1123_subdomain_errors(value)
    if wrong:
        return [invalid_value(path, value, text) for text in wrong]
    if value.count(".") < 2:
        return [invalid_value(path, value, "should be a domain with at least three segments separated by dots")]
    return []


def condition_errors(path: str, conditions: Sequence[Mapping[str, Any]], *, params: bool = False) -> Errors:
    """``validateMatchConditions``; ``params``: they may use the parameters of a policy."""
    errors: Errors = [too_many(path, len(conditions), _MAX_CONDITIONS)] if len(conditions) > _MAX_CONDITIONS else []
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        field, called = f"{path}[{index}]", condition.get("name") or ""
        text = (condition.get("expression") or "").strip()
        if not text:
            errors.append(required(f"{field}.expression"))
        errors += expression_errors(f"{field}.expression", text, Scope(params), BOOLEAN)
        errors += qualified_name(f"{field}.name", called) if called else [required(f"{field}.name")]
        if called and called in seen:
            errors.append(duplicate(f"{field}.name", called))
        seen.add(called)
    return errors


def client_config_errors(path: str, config: Mapping[str, Any]) -> Errors:
    """Exactly one way to reach the webhook, and that one valid."""
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        return [required(path, "exactly one of url or service is required")]
    if service is None:
        return _url_errors(f"{path}.url", url or "")
    errors: Errors = []
    for field, told in (("namespace", "name"), ("name", "namespace")):  # Kubernetes confuses them
        if not service.get(field):
            errors.append(required(f"{path}.service.{told}"))
    port, target = service.get("port", 443), service.get("path")
    errors += [
        invalid_value(f"{path}.service.port", port, f"port is not valid: {text}")
        for text in in_range_errors(port, 1, 65535)
    ]
    return errors + (_path_errors(f"{path}.service.path", target) if target is not None else [])


def _path_errors(path: str, target: str) -> Errors:
    if target in ("", "/"):
        return []
    if target == "//":
        return [invalid_value(path, target, "segment[0] may not be empty")]
    errors: Errors = [] if target.startswith("/") else [invalid_value(path, target, "must start with a '/'")]
    for index, step in enumerate(target[1:].removesuffix("/").split("/")):
        if not step:
            errors.append(invalid_value(path, target, f"segment[{index}] may not be empty"))
        else:
            errors += [
                invalid_value(path, target, f"segment[{index}]: {problem}")
                for problem in dns1123_subdomain_errors(step)
            ]
    return errors


def _url_errors(path: str, url: str) -> Errors:
    """``ValidateWebhookURL``."""
    form = "; desired format: https://host[/path]"
    found = parse_url(url)
    if isinstance(found, str):
        return [required(path, f"url must be a valid URL: {found}{form}")]
    errors: Errors = []
    if found.scheme != "https":
        errors.append(invalid_value(path, found.scheme, f"'https' is the only allowed URL scheme{form}"))
    if not found.host:
        errors.append(invalid_value(path, "", f"host must be specified{form}"))
    if found.user is not None:
        errors.append(invalid_value(path, found.user, "user information is not permitted in the URL"))
    if found.fragment:
        errors.append(invalid_value(path, found.fragment, "fragments are not permitted in the URL"))
    if found.query:
        errors.append(invalid_value(path, found.query, "query parameters are not permitted in the URL"))
    return errors


def rule_errors(path: str, rule: Mapping[str, Any]) -> list[FieldError]:
    """``validateRuleWithOperations``."""
    operations: Sequence[str] = rule.get("operations") or []
    errors: Errors = []
    if not operations:
        errors.append(required(f"{path}.operations"))
    if len(operations) > 1 and "*" in operations:
        text = "if '*' is present, must not specify other operations"
        errors.append(invalid_value(f"{path}.operations", list(operations), text))
    for index, operation in enumerate(operations):
        errors += one_of(f"{path}.operations[{index}]", operation, _OPERATIONS)
    for field, what in (("apiGroups", "API groups"), ("apiVersions", "API versions")):
        errors += _listed_errors(f"{path}.{field}", rule.get(field) or [], what, empty_ok=field == "apiGroups")
    errors += _resource_errors(f"{path}.resources", rule.get("resources") or [])
    if rule.get("scope") is not None:
        errors += one_of(f"{path}.scope", rule["scope"], _SCOPES)
    return errors


def _listed_errors(path: str, values: Sequence[str], what: str, *, empty_ok: bool) -> Errors:
    if not values:
        return [required(path)]
    errors: Errors = []
    if len(values) > 1 and "*" in values:
        errors.append(invalid_value(path, list(values), f"if '*' is present, must not specify other {what}"))
    if not empty_ok:
        errors += [required(f"{path}[{index}]") for index, value in enumerate(values) if not value]
    return errors


def _resource_errors(path: str, resources: Sequence[str]) -> Errors:
    """``validateResources``, which looks at what comes before each of them."""
    if not resources:
        return [required(path)]
    errors: Errors = []
    with_any: set[str] = set()
    any_with: set[str] = set()
    is_plain = False
    for index, resource in enumerate(resources):
        field = f"{path}[{index}]"
        if not resource:
            errors.append(required(field))
            continue
        main, slash, sub = resource.partition("/")
        if not slash:
            is_plain = resource != "*"
            continue
        if main in with_any:
            text = f"if '{main}/*' is present, must not specify {resource}"
            errors.append(invalid_value(field, resource, text))
        if sub in any_with:
            text = f"if '*/{sub}' is present, must not specify {resource}"
            errors.append(invalid_value(field, resource, text))
        if sub == "*":
            with_any.add(main)
        if main == "*":
            any_with.add(sub)
    if len(resources) > 1 and "*/*" in resources:
        text = "if '*/*' is present, must not specify other resources"
        errors.append(invalid_value(path, list(resources), text))
    if "*" in resources and is_plain:
        text = "if '*' is present, must not specify other resources without subresources"
        errors.append(invalid_value(path, list(resources), text))
    return errors
