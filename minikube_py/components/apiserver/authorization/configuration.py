"""AuthorizationConfiguration: the file of ``--authorization-config``, and the flags as the same records.

Checked as a whole, with the texts of ``k8s.io/apiserver/pkg/apis/apiserver/validation``; match conditions
are compiled here, once.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minikube_py.client.kubeconfig import Connection
from minikube_py.components.apiserver.authorization.match_conditions import MatchCondition, compile_match_condition
from minikube_py.components.apiserver.configuration_file import (
    GROUP,
    ConfigurationError,
    Section,
    raise_errors,
    read_document,
)
from minikube_py.components.apiserver.webhook_client import read_webhook_kubeconfig
from minikube_py.machinery.errors import FieldError, duplicate, invalid_value, not_supported, required, too_many
from minikube_py.machinery.names import dns1123_subdomain_errors

_KIND = "AuthorizationConfiguration"
_ACCEPTED = {(f"{GROUP}/{version}", _KIND): "authorization" for version in ("v1", "v1beta1", "v1alpha1")}
MODES = ("AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook")
VERSIONS = ("v1", "v1beta1")
FAILURE_POLICIES = ("NoOpinion", "Deny")
most_match_conditions = 64
longest_timeout_seconds = 30.0
default_authorized_ttl_seconds = 300.0
default_unauthorized_ttl_seconds = 30.0
flags_timeout_seconds = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """One webhook. Zero for a TTL keeps no answers."""

    connection: Connection
    version: str = "v1"
    timeout_seconds: float = flags_timeout_seconds
    authorized_ttl_seconds: float = default_authorized_ttl_seconds
    unauthorized_ttl_seconds: float = default_unauthorized_ttl_seconds
    deny_on_failure: bool = False
    match_conditions: tuple[MatchCondition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizerSettings:
    """One authorizer of the chain; ``webhook`` is given for mode Webhook only."""

    mode: str
    name: str
    webhook: WebhookSettings | None = None


@dataclass(frozen=True, slots=True)
class AuthorizationConfiguration:
    """The chain, in order."""

    authorizers: tuple[AuthorizerSettings, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookFlags:
    """The ``--authorization-webhook-*`` flags."""

    config_file: str = ""
    version: str = "v1beta1"
    cache_authorized_ttl_seconds: float = default_authorized_ttl_seconds
    cache_unauthorized_ttl_seconds: float = default_unauthorized_ttl_seconds


def configuration_from_flags(modes: Sequence[str], flags: WebhookFlags) -> AuthorizationConfiguration:
    """The chain that ``--authorization-mode`` means. Blocks for the webhook's kubeconfig. Raises ConfigurationError."""
    unknown = [mode for mode in modes if mode not in MODES]
    if unknown:
        raise ConfigurationError(f"authorization-mode {unknown[0]!r} is unknown; use {', '.join(MODES)}")
    if len(set(modes)) != len(modes):
        raise ConfigurationError(f"authorization-mode {','.join(modes)} names a mode more than once")
    if ("Webhook" in modes) != bool(flags.config_file):
        raise ConfigurationError("--authorization-mode=Webhook and --authorization-webhook-config-file need each other")
    if flags.version not in VERSIONS:
        raise ConfigurationError(f"--authorization-webhook-version must be one of {', '.join(VERSIONS)}")
    webhook = None
    if flags.config_file:
        webhook = WebhookSettings(
            connection=read_webhook_kubeconfig(Path(flags.config_file)),
            version=flags.version,
            authorized_ttl_seconds=flags.cache_authorized_ttl_seconds,
            unauthorized_ttl_seconds=flags.cache_unauthorized_ttl_seconds,
        )
    chain = [
        AuthorizerSettings(mode=mode, name=mode.lower(), webhook=webhook if mode == "Webhook" else None)
        for mode in modes
    ]
    return AuthorizationConfiguration(tuple(chain))


def read_authorization_configuration(path: Path) -> AuthorizationConfiguration:
    """Read and check the file and the kubeconfigs that it names. Blocks. Raises ConfigurationError."""
    errors: list[str] = []
    found: list[FieldError] = []
    root = Section(read_document(path, _ACCEPTED), "", errors)
    sections = root.sections("authorizers")
    if not sections:
        found.append(required("authorizers", "at least one authorization mode must be defined"))
    chain: list[AuthorizerSettings] = []
    for section in sections:
        made = _authorizer(section, chain, errors, found)
        if made is not None:
            chain.append(made)
    root.close()
    raise_errors(str(path), [*errors, *found])
    return AuthorizationConfiguration(tuple(chain))


def _authorizer(
    section: Section, before: Sequence[AuthorizerSettings], errors: list[str], found: list[FieldError]
) -> AuthorizerSettings | None:
    mode, name = section.text("type"), section.text("name")
    has_webhook, webhook_section = section.has("webhook"), section.section("webhook")
    section.close()
    field = section.at("type")
    if not mode:
        found.append(required(field))
        return None
    if mode not in MODES:
        found.append(not_supported(field, mode, MODES))
        return None
    if mode != "Webhook" and any(other.mode == mode for other in before):
        found.append(duplicate(field, mode))
        return None
    if not name:
        found.append(required(section.at("name")))
    elif any(other.name == name for other in before):
        found.append(duplicate(section.at("name"), name))
    elif problems := dns1123_subdomain_errors(name):
        why = f"authorizer name is invalid: {', '.join(problems)}"
        found.append(invalid_value(section.at("name"), name, why))
    webhook = None
    if mode == "Webhook":
        if not has_webhook:
            found.append(required(section.at("webhook"), "required when type=Webhook"))
            return None
        webhook = _webhook(webhook_section, errors, found)
    elif has_webhook:
        why = "may only be specified when type=Webhook"
        found.append(invalid_value(section.at("webhook"), "non-null", why))
    return AuthorizerSettings(mode=mode, name=name, webhook=webhook)


def _webhook(section: Section, errors: list[str], found: list[FieldError]) -> WebhookSettings:
    timeout = section.duration("timeout") or 0.0
    if not timeout:
        found.append(required(section.at("timeout")))
    elif not 0 < timeout <= longest_timeout_seconds:
        found.append(invalid_value(section.at("timeout"), section.raw("timeout"), "must be > 0s and <= 30s"))
    authorized = _ttl(section, "authorizedTTL", "cacheAuthorizedRequests", default_authorized_ttl_seconds, found)
    unauthorized = _ttl(
        section, "unauthorizedTTL", "cacheUnauthorizedRequests", default_unauthorized_ttl_seconds, found
    )
    version = _choice(section, "subjectAccessReviewVersion", VERSIONS, found)
    policy = _choice(section, "failurePolicy", FAILURE_POLICIES, found)
    conditions = _match_conditions(section, found)
    connection = _connection(section.section("connectionInfo"), errors, found)
    section.close()
    return WebhookSettings(
        connection=connection,
        version=version,
        timeout_seconds=timeout,
        authorized_ttl_seconds=authorized,
        unauthorized_ttl_seconds=unauthorized,
        deny_on_failure=policy == "Deny",
        match_conditions=conditions,
    )


def _ttl(section: Section, name: str, switch: str, default: float, found: list[FieldError]) -> float:
    seconds = section.duration(name, default) or default
    if seconds < 0:
        found.append(invalid_value(section.at(name), section.raw(name), "must be > 0s"))
    return seconds if section.flag(switch, True) else 0.0


def _choice(section: Section, name: str, choices: Sequence[str], found: list[FieldError]) -> str:
    value = section.text(name)
    if not value:
        found.append(required(section.at(name)))
    elif value not in choices:
        found.append(not_supported(section.at(name), value, choices))
    return value


def _match_conditions(section: Section, found: list[FieldError]) -> tuple[MatchCondition, ...]:
    sections = section.sections("matchConditions")
    version, field = section.text("matchConditionSubjectAccessReviewVersion"), section.at("matchConditions")
    version_field = section.at("matchConditionSubjectAccessReviewVersion")
    if sections and not version:
        found.append(required(version_field, "required if match conditions are specified"))
    elif version not in ("", "v1"):
        found.append(not_supported(version_field, version, ["v1"]))
    if len(sections) > most_match_conditions:
        found.append(too_many(field, len(sections), most_match_conditions))
        return ()
    made: dict[str, MatchCondition] = {}
    for item in sections:
        text, where = item.text("expression"), item.at("expression")
        item.close()
        if not text.strip():
            found.append(required(where))
        elif text in made:
            found.append(duplicate(where, text))
        else:
            condition = compile_match_condition(text, where, found)
            if condition is not None:
                made[text] = condition
    return tuple(made.values())


def _connection(section: Section, errors: list[str], found: list[FieldError]) -> Connection:
    kind, file = section.text("type"), section.text("kubeConfigFile")
    section.close()
    field = section.at("kubeConfigFile")
    if not kind:
        found.append(required(section.at("type")))
    elif kind != "KubeConfigFile":
        # InCluster is for API servers that run in pods.
        found.append(not_supported(section.at("type"), kind, ["KubeConfigFile"]))
    elif not file:
        found.append(required(field))
    elif not Path(file).is_absolute():
        found.append(invalid_value(field, file, "must be an absolute path"))
    elif problem := _file_problem(Path(file)):
        found.append(invalid_value(field, file, problem))
    else:
        try:
            return read_webhook_kubeconfig(Path(file))
        except ConfigurationError as error:
            errors.append(str(error))
    return Connection("")


def _file_problem(path: Path) -> str:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return f"error loading file: {error.strerror}"
    return "" if stat.S_ISREG(mode) else "must be a regular file"
