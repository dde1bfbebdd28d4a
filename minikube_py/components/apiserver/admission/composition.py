"""Puts the admission plugins of this process together; webhooks and policies are ``dynamic``'s.

Which of them run, and in which order, is decided by ``chain.build_chain``. Blocks for small files.
"""

from __future__ import annotations

from minikube_py.client.types import Client
from minikube_py.components.apiserver.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from minikube_py.components.apiserver.admission.configuration import AdmissionConfiguration
from minikube_py.components.apiserver.admission.event_rate_limit import EventRateLimit, read_limits
from minikube_py.components.apiserver.admission.general import (
    AlwaysDeny,
    NamespaceAutoProvision,
    NamespaceExists,
    OwnerReferencesPermissionEnforcement,
)
from minikube_py.components.apiserver.admission.image_policy import ImagePolicyWebhook
from minikube_py.components.apiserver.admission.image_policy import read_settings as read_image_policy
from minikube_py.components.apiserver.admission.limit_ranger import LimitRanger
from minikube_py.components.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from minikube_py.components.apiserver.admission.node_restriction import NodeRestriction
from minikube_py.components.apiserver.admission.pod_defaults import (
    AlwaysPullImages,
    DefaultTolerationSeconds,
    PriorityPlugin,
    RuntimeClassPlugin,
    TaintNodesByCondition,
)
from minikube_py.components.apiserver.admission.pod_node_selector import PodNodeSelector
from minikube_py.components.apiserver.admission.pod_node_selector import read_settings as read_node_selectors
from minikube_py.components.apiserver.admission.pod_security import PodSecurity
from minikube_py.components.apiserver.admission.pod_security.configuration import (
    read_configuration as read_pod_security,
)
from minikube_py.components.apiserver.admission.pod_tolerations import (
    ExtendedResourceToleration,
    LimitPodHardAntiAffinityTopology,
    PodTolerationRestriction,
)
from minikube_py.components.apiserver.admission.pod_tolerations import read_settings as read_tolerations
from minikube_py.components.apiserver.admission.pod_topology import PodTopologyLabels
from minikube_py.components.apiserver.admission.pod_updates import NodeDeclaredFeatureValidator, PodResizeValidator
from minikube_py.components.apiserver.admission.resource_quota import ResourceQuotaPlugin
from minikube_py.components.apiserver.admission.service_account import ServiceAccountPlugin
from minikube_py.components.apiserver.admission.storage import (
    DefaultIngressClass,
    DefaultStorageClass,
    DenyServiceExternalIPs,
    PersistentVolumeClaimResize,
    StorageObjectInUseProtection,
)
from minikube_py.components.apiserver.admission.token_audiences import CSI_DRIVERS, TokenAudiences
from minikube_py.components.apiserver.lookup import Lookups
from minikube_py.components.apiserver.metrics.admission import AdmissionMetrics
from minikube_py.components.apiserver.registry.kinds import Kinds
from minikube_py.components.apiserver.types import AdmissionPlugin, Authorizer
from minikube_py.components.apiserver.webhook_client import WebhookClient
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.resources import (
    INGRESS_CLASSES,
    LIMIT_RANGES,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    PRIORITY_CLASSES,
    RESOURCE_QUOTAS,
    RUNTIME_CLASSES,
    SERVICE_ACCOUNTS,
    STORAGE_CLASSES,
)


def configured_plugins(
    client: Client,
    lookups: Lookups,
    authorizer: Authorizer,
    clock: Clock,
    configured: AdmissionConfiguration,
    metrics: AdmissionMetrics,
    kinds: Kinds | None,
) -> dict[str, AdmissionPlugin]:
    """The plugins by name, each with its part of the configuration. Raises ConfigurationError, OSError.

    ``kinds`` are those that are served, if any; owners of other kinds are unknown.
    """
    pod_security, exemptions = read_pod_security(configured)
    volumes = (lookups(PERSISTENT_VOLUME_CLAIMS), lookups(PERSISTENT_VOLUMES), lookups(CSI_DRIVERS))
    audiences = TokenAudiences(*volumes, authorizer)
    plugins: list[AdmissionPlugin] = [
        NamespaceLifecycle(lookups(NAMESPACES)),
        LimitRanger(lookups(LIMIT_RANGES)),
        ServiceAccountPlugin(lookups(SERVICE_ACCOUNTS), clock),
        NodeRestriction(lookups(PODS), lookups(NODES), audiences),
        TaintNodesByCondition(),
        AlwaysPullImages(),
        PodSecurity(lookups(NAMESPACES), lookups(PODS), pod_security, exemptions, metrics),
        PodNodeSelector(lookups(NAMESPACES), read_node_selectors(configured)),
        EventRateLimit(read_limits(configured), clock),
        PriorityPlugin(lookups(PRIORITY_CLASSES)),
        DefaultTolerationSeconds(),
        DefaultStorageClass(lookups(STORAGE_CLASSES)),
        StorageObjectInUseProtection(),
        PersistentVolumeClaimResize(lookups(STORAGE_CLASSES)),
        RuntimeClassPlugin(lookups(RUNTIME_CLASSES)),
        CertificateApproval(authorizer),
        CertificateSigning(authorizer),
        CertificateSubjectRestriction(),
        DefaultIngressClass(lookups(INGRESS_CLASSES)),
        DenyServiceExternalIPs(),
        PodTopologyLabels(lookups(NODES)),
        NodeDeclaredFeatureValidator(lookups(NODES)),
        PodResizeValidator(lookups(NODES)),
        ResourceQuotaPlugin(client, lookups(RESOURCE_QUOTAS)),
        AlwaysDeny(),
        NamespaceExists(lookups(NAMESPACES)),
        NamespaceAutoProvision(client, lookups(NAMESPACES)),
        OwnerReferencesPermissionEnforcement(authorizer, kinds or Kinds()),
        PodTolerationRestriction(lookups(NAMESPACES), read_tolerations(configured)),
        ExtendedResourceToleration(),
        LimitPodHardAntiAffinityTopology(),
    ]
    images = read_image_policy(configured)
    if images is not None:
        service = WebhookClient(images.connection, clock, delay_seconds=images.first_delay_seconds)
        plugins.append(ImagePolicyWebhook(images, service, clock))
    return {plugin.name: plugin for plugin in plugins}
