"""The settings of the API server's parts, from those of the process."""

from __future__ import annotations

from minikube_py import config
from minikube_py.bootstrap_tokens import NODE_GROUP
from minikube_py.certificates import ServerCredentials
from minikube_py.components.apiserver.aggregation.connections import ProxyIdentity
from minikube_py.components.apiserver.audit.file import FileSettings
from minikube_py.components.apiserver.audit.options import AuditSettings
from minikube_py.components.apiserver.authentication.configuration import OidcFlags
from minikube_py.components.apiserver.authorization.configuration import WebhookFlags
from minikube_py.components.apiserver.registry.allocation import ServiceRanges
from minikube_py.components.apiserver.security import SecuritySettings
from minikube_py.components.apiserver.settings import ApiServerSettings, KubeletTls
from minikube_py.config import ServerSettings


def api_url(settings: ServerSettings) -> str:
    """Under which URL others reach the API. Raises ConfigError."""
    return f"https://{advertise_address(settings)}:{settings.https_listen_port}"


def advertise_address(settings: ServerSettings) -> str:
    """The API's address for others. Raises ConfigError on a host that has none."""
    return settings.advertise_address or config.node_ip(settings)


def api_server_settings(settings: ServerSettings, credentials: ServerCredentials) -> ApiServerSettings:
    """Where the API listens, what it shows, how much it serves at a time. Raises ConfigError."""
    pki = credentials.pki
    first_port, last_port = config.node_port_range(settings)
    return ApiServerSettings(
        bind_address=settings.bind_address,
        port=settings.https_listen_port,
        advertise_address=advertise_address(settings),
        tls=credentials.tls.context,
        kubelet_tls=KubeletTls(
            str(pki.server_ca.certificate),
            str(pki.client_kube_apiserver.certificate),
            str(pki.client_kube_apiserver.key),
        ),
        service_ranges=ServiceRanges(settings.service_cidr, first_port, last_port),
        aggregation=True,
        proxy_identity=ProxyIdentity(pki.client_auth_proxy.certificate, pki.client_auth_proxy.key),
        priority_and_fairness=settings.enable_priority_and_fairness,
        max_requests_inflight=settings.max_requests_inflight,
        max_mutating_requests_inflight=settings.max_mutating_requests_inflight,
    )


def security_settings(settings: ServerSettings) -> SecuritySettings:
    """Who is known, who may and what is let in. Raises ConfigError."""

    def seconds(name: str) -> float:
        return config.seconds(name, getattr(settings, name))

    return SecuritySettings(
        token_auth_file=settings.token_auth_file,
        authentication_config=settings.authentication_config,
        oidc=_oidc_flags(settings),
        authentication_token_webhook_config_file=settings.authentication_token_webhook_config_file,
        authentication_token_webhook_version=settings.authentication_token_webhook_version,
        authentication_token_webhook_cache_ttl_seconds=seconds("authentication_token_webhook_cache_ttl"),
        service_account_issuer=settings.service_account_issuer,
        api_audiences=settings.api_audiences,
        service_account_extend_token_expiration=settings.service_account_extend_token_expiration,
        anonymous_auth=settings.anonymous_auth,
        join_groups=(NODE_GROUP,),
        authorization_mode=settings.authorization_mode,
        authorization_config=settings.authorization_config,
        authorization_webhook=WebhookFlags(
            config_file=settings.authorization_webhook_config_file,
            version=settings.authorization_webhook_version,
            cache_authorized_ttl_seconds=seconds("authorization_webhook_cache_authorized_ttl"),
            cache_unauthorized_ttl_seconds=seconds("authorization_webhook_cache_unauthorized_ttl"),
        ),
        admission_control_config_file=settings.admission_control_config_file,
        enable_admission_plugins=settings.enable_admission_plugins,
        disable_admission_plugins=settings.disable_admission_plugins,
    )


def _oidc_flags(settings: ServerSettings) -> OidcFlags:
    return OidcFlags(
        issuer_url=settings.oidc_issuer_url,
        client_id=settings.oidc_client_id,
        ca_file=settings.oidc_ca_file,
        username_claim=settings.oidc_username_claim,
        username_prefix=settings.oidc_username_prefix,
        groups_claim=settings.oidc_groups_claim,
        groups_prefix=settings.oidc_groups_prefix,
        signing_algs=settings.oidc_signing_algs,
        required_claim=settings.oidc_required_claim,
    )


def audit_settings(settings: ServerSettings) -> AuditSettings:
    """Where audit events go."""
    log = FileSettings(
        settings.audit_log_path,
        max_age_days=settings.audit_log_maxage,
        max_backups=settings.audit_log_maxbackup,
        max_size_megabytes=settings.audit_log_maxsize,
        compress=settings.audit_log_compress,
        legacy=settings.audit_log_format == "legacy",
    )
    return AuditSettings(
        policy_file=settings.audit_policy_file,
        log=log if settings.audit_log_path else None,
        log_mode=settings.audit_log_mode,
        webhook_config_file=settings.audit_webhook_config_file,
        webhook_mode=settings.audit_webhook_mode,
        truncate_bytes=settings.audit_truncate_max_event_size,
    )
