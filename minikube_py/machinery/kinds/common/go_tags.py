"""Facts about the Go types behind the API that OpenAPI does not tell: which fields are pointers.

A Go server drops zero values of optional plain fields and keeps those of pointers (``replicas: 0`` is
stored, ``hostNetwork: false`` is not), and it writes embedded structs even when nobody set them
(``resources: {}``). The tables name types by the last part of their OpenAPI definition; types of
different groups that share a name and differ are written ``group.Name``.
"""

from __future__ import annotations


def _table(text: str) -> dict[str, frozenset[str]]:
    rows = (line.split(":", 1) for line in text.strip().splitlines())
    return {name.strip(): frozenset(fields.split()) for name, fields in rows}


POINTERS = _table("""
    ObjectMeta: deletionGracePeriodSeconds
    OwnerReference: controller blockOwnerDeletion
    DeleteOptions: gracePeriodSeconds orphanDependents propagationPolicy
    Preconditions: uid resourceVersion
    PodSpec: terminationGracePeriodSeconds activeDeadlineSeconds automountServiceAccountToken \
shareProcessNamespace priority runtimeClassName enableServiceLinks preemptionPolicy setHostnameAsFQDN \
hostUsers hostnameOverride
    Container: restartPolicy
    EphemeralContainer: restartPolicy
    SecurityContext: privileged runAsUser runAsGroup runAsNonRoot readOnlyRootFilesystem \
allowPrivilegeEscalation procMount
    PodSecurityContext: runAsUser runAsGroup runAsNonRoot fsGroup fsGroupChangePolicy \
supplementalGroupsPolicy seLinuxChangePolicy
    SeccompProfile: localhostProfile
    AppArmorProfile: localhostProfile
    WindowsSecurityContextOptions: gmsaCredentialSpecName gmsaCredentialSpec runAsUserName hostProcess
    Probe: terminationGracePeriodSeconds
    GRPCAction: service
    Lifecycle: stopSignal
    Toleration: tolerationSeconds
    VolumeMount: mountPropagation recursiveReadOnly
    VolumeMountStatus: recursiveReadOnly
    ConfigMapVolumeSource: defaultMode optional
    SecretVolumeSource: defaultMode optional
    DownwardAPIVolumeSource: defaultMode
    ProjectedVolumeSource: defaultMode
    KeyToPath: mode
    DownwardAPIVolumeFile: mode
    ServiceAccountTokenProjection: expirationSeconds
    ConfigMapProjection: optional
    SecretProjection: optional
    ClusterTrustBundleProjection: name signerName optional
    PodCertificateProjection: maxExpirationSeconds
    ConfigMapEnvSource: optional
    SecretEnvSource: optional
    ConfigMapKeySelector: optional
    SecretKeySelector: optional
    FileKeySelector: optional
    HostPathVolumeSource: type
    AzureDiskVolumeSource: cachingMode fsType readOnly kind
    AzureFilePersistentVolumeSource: secretNamespace
    CSIVolumeSource: readOnly fsType
    ISCSIVolumeSource: initiatorName
    ISCSIPersistentVolumeSource: initiatorName
    FCVolumeSource: lun
    LocalVolumeSource: fsType
    GlusterfsPersistentVolumeSource: endpointsNamespace
    TopologySpreadConstraint: minDomains nodeAffinityPolicy nodeTaintsPolicy
    PodDNSConfigOption: value
    PodResourceClaim: resourceClaimName resourceClaimTemplateName
    PodResourceClaimStatus: resourceClaimName
    PodSchedulingGroup: podGroupName
    ContainerStatus: started
    ServiceSpec: ipFamilyPolicy allocateLoadBalancerNodePorts loadBalancerClass internalTrafficPolicy \
trafficDistribution
    core.ServicePort: appProtocol
    ClientIPConfig: timeoutSeconds
    LoadBalancerIngress: ipMode
    PortStatus: error
    IngressPortStatus: error
    EndpointAddress: nodeName
    core.EndpointPort: appProtocol
    discovery.EndpointPort: name protocol port appProtocol
    Endpoint: hostname nodeName zone
    EndpointConditions: ready serving terminating
    ConfigMap: immutable
    Secret: immutable
    ServiceAccount: automountServiceAccountToken
    PersistentVolumeSpec: volumeMode volumeAttributesClassName
    PersistentVolumeStatus: lastPhaseTransitionTime
    PersistentVolumeClaimSpec: storageClassName volumeMode volumeAttributesClassName
    PersistentVolumeClaimStatus: currentVolumeAttributesClassName
    TypedLocalObjectReference: apiGroup
    TypedObjectReference: apiGroup namespace
    ReplicationControllerSpec: replicas
    NodeRuntimeHandlerFeatures: recursiveReadOnlyMounts userNamespaces
    NodeFeatures: supplementalGroupsPolicy
    NodeSwapStatus: capacity
    DeploymentSpec: replicas revisionHistoryLimit progressDeadlineSeconds
    DeploymentStatus: collisionCount terminatingReplicas
    ReplicaSetSpec: replicas
    ReplicaSetStatus: terminatingReplicas
    StatefulSetSpec: replicas revisionHistoryLimit
    StatefulSetStatus: collisionCount
    RollingUpdateStatefulSetStrategy: partition
    DaemonSetSpec: revisionHistoryLimit
    DaemonSetStatus: collisionCount
    JobSpec: parallelism completions activeDeadlineSeconds backoffLimit backoffLimitPerIndex maxFailedIndexes \
manualSelector ttlSecondsAfterFinished completionMode suspend podReplacementPolicy managedBy
    JobStatus: terminating ready failedIndexes
    SuccessPolicyRule: succeededIndexes succeededCount
    PodFailurePolicyOnExitCodesRequirement: containerName
    CronJobSpec: timeZone startingDeadlineSeconds suspend successfulJobsHistoryLimit failedJobsHistoryLimit
    HorizontalPodAutoscalerSpec: minReplicas targetCPUUtilizationPercentage
    v1.HorizontalPodAutoscalerStatus: observedGeneration currentCPUUtilizationPercentage
    HorizontalPodAutoscalerStatus: observedGeneration
    HPAScalingRules: stabilizationWindowSeconds selectPolicy
    MetricTarget: averageUtilization
    MetricValueStatus: averageUtilization
    PodDisruptionBudgetSpec: unhealthyPodEvictionPolicy
    IngressSpec: ingressClassName
    HTTPIngressPath: pathType
    IngressClassParametersReference: apiGroup scope namespace
    NetworkPolicyPort: protocol endPort
    StorageClass: reclaimPolicy allowVolumeExpansion volumeBindingMode
    CSIDriverSpec: attachRequired podInfoOnMount storageCapacity fsGroupPolicy requiresRepublish seLinuxMount \
nodeAllocatableUpdatePeriodSeconds serviceAccountTokenInSecrets preventPodSchedulingIfMissing
    storage.TokenRequest: expirationSeconds
    VolumeNodeResources: count
    VolumeAttachmentSource: persistentVolumeName
    VolumeError: errorCode
    PriorityClass: preemptionPolicy
    LeaseSpec: holderIdentity leaseDurationSeconds leaseTransitions strategy preferredHolder
    CertificateSigningRequestSpec: expirationSeconds
    MutatingWebhook: failurePolicy matchPolicy sideEffects timeoutSeconds reinvocationPolicy
    ValidatingWebhook: failurePolicy matchPolicy sideEffects timeoutSeconds
    admissionregistration.ServiceReference: path port
    apiextensions.ServiceReference: path port
    apiregistration.ServiceReference: port
    WebhookClientConfig: url
    RuleWithOperations: scope
    NamedRuleWithOperations: scope
    Validation: reason
    ParamRef: parameterNotFoundAction
    MatchResources: matchPolicy
    ValidatingAdmissionPolicySpec: failurePolicy
    MutatingAdmissionPolicySpec: failurePolicy
    LimitedPriorityLevelConfiguration: nominalConcurrencyShares lendablePercent borrowingLimitPercent
    ExemptPriorityLevelConfiguration: nominalConcurrencyShares lendablePercent
    DeviceAttribute: int bool string version
    ExactDeviceRequest: adminAccess
    DeviceRequestAllocationResult: adminAccess shareID
    DeviceToleration: tolerationSeconds
    AllocatedDeviceStatus: shareID
    Device: nodeName allNodes bindsToNode allowMultipleAllocations
    ResourceSliceSpec: nodeName allNodes perDeviceNodeSelection
    DeviceClassSpec: extendedResourceName
    DeviceConstraint: matchAttribute distinctAttribute
    CustomResourceDefinitionVersion: deprecationWarning
    CustomResourceSubresourceScale: labelSelectorPath
    JSONSchemaProps: $ref maximum minimum maxLength minLength maxItems minItems multipleOf maxProperties \
minProperties x-kubernetes-preserve-unknown-fields x-kubernetes-list-type x-kubernetes-map-type
    ValidationRule: reason optionalOldSelf
    TokenRequestSpec: expirationSeconds
""")
"""Scalar fields that are pointers: a zero value is kept."""

VALUE_STRUCTS = _table("""
    PodTemplateSpec: metadata spec
    PodTemplate: template
    JobTemplateSpec: metadata spec
    PersistentVolumeClaimTemplate: metadata
    ResourceClaimTemplateSpec: metadata
    Container: resources
    EphemeralContainer: resources
    ContainerStatus: state lastState
    PersistentVolumeClaimSpec: resources
    DeploymentSpec: strategy
    StatefulSetSpec: updateStrategy
    DaemonSetSpec: updateStrategy
    ServiceStatus: loadBalancer
    IngressStatus: loadBalancer
    NodeStatus: daemonEndpoints nodeInfo
    NodeDaemonEndpoints: kubeletEndpoint
    core.Event: source
    events.Event: regarding deprecatedSource
    NetworkPolicySpec: podSelector
    Endpoint: conditions
    IngressServiceBackend: port
    ReplicaSetSpec: template
    ResourceClaimSpec: devices
    AllocationResult: devices
    LimitedPriorityLevelConfiguration: limitResponse
    SelfSubjectReviewStatus: userInfo
    TokenReviewStatus: user
    CustomResourceDefinitionStatus: acceptedNames
""")
"""Optional struct fields that are plain structs: always written. ``spec`` and ``status`` of whole
objects are so too (``shape`` knows)."""

POINTER_STRUCTS = _table("""
    DeploymentSpec: selector
    ReplicaSetSpec: selector
    StatefulSetSpec: selector
    DaemonSetSpec: selector
    IPAddressSpec: parentRef
    EphemeralVolumeSource: volumeClaimTemplate
    ReplicationControllerSpec: template
    VolumeNodeAffinity: required
""")
"""Structs that OpenAPI requires and Go has as pointers: left out when unset."""

NULL_TIMES = _table("""
    core.Event: firstTimestamp lastTimestamp eventTime
    events.Event: deprecatedFirstTimestamp deprecatedLastTimestamp eventTime
    PodCondition: lastProbeTime lastTransitionTime
    NodeCondition: lastHeartbeatTime lastTransitionTime
    PersistentVolumeClaimCondition: lastProbeTime lastTransitionTime
    DeploymentCondition: lastUpdateTime lastTransitionTime
    ReplicaSetCondition: lastTransitionTime
    DaemonSetCondition: lastTransitionTime
    StatefulSetCondition: lastTransitionTime
    ReplicationControllerCondition: lastTransitionTime
    JobCondition: lastProbeTime lastTransitionTime
    HorizontalPodAutoscalerCondition: lastTransitionTime
    CertificateSigningRequestCondition: lastUpdateTime lastTransitionTime
    NamespaceCondition: lastTransitionTime
    Condition: lastTransitionTime
    APIServiceCondition: lastTransitionTime
    CustomResourceDefinitionCondition: lastTransitionTime
    FlowSchemaCondition: lastTransitionTime
    PriorityLevelConfigurationCondition: lastTransitionTime
    ContainerStateRunning: startedAt
    ContainerStateTerminated: startedAt finishedAt
    core.EventSeries: lastObservedTime
    VolumeError: time
    TypedLocalObjectReference: apiGroup
    TypedObjectReference: apiGroup
""")
"""Times that are values, and pointers without ``omitempty``: written as ``null`` when unset."""

ALWAYS = _table("""
    core.Event: reportingComponent reportingInstance
    RoleRef: apiGroup
    StatefulSetSpec: serviceName
    StatefulSetStatus: availableReplicas
    PodDisruptionBudgetStatus: disruptionsAllowed currentHealthy desiredHealthy expectedPods
    v2.HorizontalPodAutoscalerStatus: currentMetrics
    ResourceFieldSelector: divisor
    CustomResourceDefinitionStatus: conditions storedVersions
    EndpointSlice: ports
    ResourcePolicyRule: namespaces
    ClusterRole: rules
    Role: rules
    PriorityClass: value
    NodeSystemInfo: machineID systemUUID bootID kernelVersion osImage containerRuntimeVersion kubeletVersion \
kubeProxyVersion operatingSystem architecture
    DaemonEndpoint: Port
""")
"""Optional fields without ``omitempty``: their zero value is written (null for lists)."""
