"""From kube-apiserver's ``--audit-*`` flags to an auditor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter

from minikube_py.components.apiserver.audit.auditor import Auditor
from minikube_py.components.apiserver.audit.batches import Batches, BatchSettings
from minikube_py.components.apiserver.audit.file import AuditFile, FileSettings
from minikube_py.components.apiserver.audit.policy import read_policy
from minikube_py.components.apiserver.audit.webhook import AuditWebhook, Sizes
from minikube_py.components.apiserver.configuration_file import ConfigurationError
from minikube_py.machinery.clock import Clock

MODES = ("batch", "blocking", "blocking-strict")
_WEBHOOK_WAIT_SECONDS = 30.0
_LOG_WAIT_SECONDS = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """Names are those of the flags, without ``audit``. Without a policy file nothing is audited."""

    policy_file: str = ""
    log: FileSettings | None = None
    log_mode: str = "blocking"
    webhook_config_file: str = ""
    webhook_mode: str = "batch"
    truncate_bytes: int = 0


def build_auditor(settings: AuditSettings, clock: Clock, registry: CollectorRegistry) -> Auditor | None:
    """The auditor, None when nothing is to be audited. Blocks for small files. Raises ConfigurationError."""
    if not settings.policy_file:
        if settings.log is not None or settings.webhook_config_file:
            raise ConfigurationError("auditing needs --audit-policy-file, which says what is audited")
        return None
    policy = read_policy(Path(settings.policy_file))
    errors = Counter(
        "apiserver_audit_error",
        "Counter of audit events that failed to be audited properly. Plugin identifies the plugin affected by the "
        "error.",
        ("plugin",),
        registry=registry,
    )
    backends: list[Batches] = []
    if settings.log is not None:
        backends.append(_log_backend(settings, settings.log, clock, errors))
    if settings.webhook_config_file:
        backends.append(_webhook_backend(settings, clock, errors))
    if not backends:
        raise ConfigurationError("--audit-policy-file needs --audit-log-path or --audit-webhook-config-file")
    metrics = {
        "events": Counter(
            "apiserver_audit_event",
            "Counter of audit events generated and sent to the audit backend.",
            registry=registry,
        ),
        "rejected": Counter(
            "apiserver_audit_requests_rejected",
            "Counter of apiserver requests rejected due to an error in audit logging backend.",
            registry=registry,
        ),
    }
    return Auditor(policy, backends, clock, metrics)


def _batch(mode: str, wait_seconds: float) -> BatchSettings:
    if mode == "batch":
        return BatchSettings(blocking=False, wait_seconds=wait_seconds)
    return BatchSettings(blocking=True, strict=mode == "blocking-strict")


def _log_backend(settings: AuditSettings, log: FileSettings, clock: Clock, errors: Counter) -> Batches:
    file = AuditFile(log, clock.now)
    try:
        file.open()
    except OSError as error:
        raise ConfigurationError(
            f"--audit-log-path: cannot write {log.path}: {error.strerror or error}; choose another path"
        ) from error
    return Batches("log", file.write, _batch(settings.log_mode, _LOG_WAIT_SECONDS), clock, errors)


def _webhook_backend(settings: AuditSettings, clock: Clock, errors: Counter) -> Batches:
    from minikube_py.components.apiserver.webhook_client import WebhookClient, read_webhook_kubeconfig

    client = WebhookClient(read_webhook_kubeconfig(Path(settings.webhook_config_file)), clock)
    backend = AuditWebhook(client, Sizes(most_event=settings.truncate_bytes))
    return Batches("webhook", backend.write, _batch(settings.webhook_mode, _WEBHOOK_WAIT_SECONDS), clock, errors)
