"""Layouts of what pods hold, for ``go_values``: Kubernetes' internal Go types, their fields in order."""

from __future__ import annotations

_CONTAINER = (
    'Name"" Image"" Command- Args- WorkingDir"" Ports[]ContainerPort EnvFrom[]EnvFromSource Env[]EnvVar '
    "ResourcesResourceRequirements ResizePolicy[]ContainerResizePolicy RestartPolicy- "
    "RestartPolicyRules[]ContainerRestartRule VolumeMounts[]VolumeMount VolumeDevices[]VolumeDevice "
    "LivenessProbe*Probe ReadinessProbe*Probe StartupProbe*Probe Lifecycle*Lifecycle "
    'TerminationMessagePath"" TerminationMessagePolicy"" ImagePullPolicy"" SecurityContext*SecurityContext '
    "Stdin? StdinOnce? TTY?"
)
_HANDLERS = "Exec*ExecAction HTTPGet*HTTPGetAction TCPSocket*TCPSocketAction"

POD_LAYOUTS = {
    "Capabilities": "Add- Drop-",
    "SELinuxOptions": 'User"" Role"" Type"" Level""',
    "SeccompProfile": 'Type"" LocalhostProfile-',
    "AppArmorProfile": 'Type"" LocalhostProfile-',
    "WindowsOptions": "GMSACredentialSpecName- GMSACredentialSpec- RunAsUserName- HostProcess-",
    "SecurityContext": "Capabilities*Capabilities Privileged- SELinuxOptions*SELinuxOptions "
    "WindowsOptions*WindowsOptions RunAsUser- RunAsGroup- RunAsNonRoot- ReadOnlyRootFilesystem- "
    "AllowPrivilegeEscalation- ProcMount- SeccompProfile*SeccompProfile AppArmorProfile*AppArmorProfile",
    "LocalObjectReference": 'Name""',
    "ContainerPort": 'Name"" HostPort0 ContainerPort0 Protocol"" HostIP""',
    "NamedEnvSource": 'Name"" Optional-',
    "EnvFromSource": 'Prefix"" ConfigMapRef*NamedEnvSource SecretRef*NamedEnvSource',
    "ObjectFieldSelector": 'APIVersion"" FieldPath""',
    "ResourceFieldSelector": 'ContainerName"" Resource"" Divisor-',
    "KeySelector": 'Name"" Key"" Optional-',
    "FileKeySelector": 'VolumeName"" Path"" Key"" Optional-',
    "EnvVarSource": "FieldRef*ObjectFieldSelector ResourceFieldRef*ResourceFieldSelector "
    "ConfigMapKeyRef*KeySelector SecretKeyRef*KeySelector FileKeyRef*FileKeySelector",
    "EnvVar": 'Name"" Value"" ValueFrom*EnvVarSource',
    "ContainerClaim": 'Name"" Request""',
    "ResourceRequirements": "Limits- Requests- Claims[]ContainerClaim",
    "ContainerResizePolicy": 'ResourceName"" RestartPolicy""',
    "ContainerRestartRuleOnExitCodes": 'Operator"" Values-',
    "ContainerRestartRule": 'Action"" ExitCodes*ContainerRestartRuleOnExitCodes',
    "VolumeMount": 'Name"" ReadOnly? RecursiveReadOnly- MountPath"" SubPath"" MountPropagation- SubPathExpr""',
    "VolumeDevice": 'Name"" DevicePath""',
    "ExecAction": "Command-",
    "HTTPHeader": 'Name"" Value""',
    "HTTPGetAction": 'Path"" Port0 Host"" Scheme"" HTTPHeaders[]HTTPHeader',
    "TCPSocketAction": 'Port0 Host""',
    "GRPCAction": "Port0 Service-",
    "SleepAction": "Seconds0",
    "Probe": f"{_HANDLERS} GRPC*GRPCAction InitialDelaySeconds0 TimeoutSeconds0 PeriodSeconds0 "
    "SuccessThreshold0 FailureThreshold0 TerminationGracePeriodSeconds-",
    "LifecycleHandler": f"{_HANDLERS} Sleep*SleepAction",
    "Lifecycle": "PostStart*LifecycleHandler PreStop*LifecycleHandler StopSignal-",
    "Container": _CONTAINER,
    "EphemeralContainer": f'{_CONTAINER} TargetContainerName""',
    "KeyToPath": 'Key"" Path"" Mode-',
    "EmptyDirVolumeSource": 'Medium"" SizeLimit-',
    "SecretVolumeSource": 'SecretName"" Items[]KeyToPath DefaultMode- Optional-',
    "ConfigMapVolumeSource": 'Name"" Items[]KeyToPath DefaultMode- Optional-',
    "PersistentVolumeClaimVolumeSource": 'ClaimName"" ReadOnly?',
    "DownwardAPIVolumeFile": 'Path"" FieldRef*ObjectFieldSelector ResourceFieldRef*ResourceFieldSelector Mode-',
    "DownwardAPIVolumeSource": "Items[]DownwardAPIVolumeFile DefaultMode-",
    "DownwardAPIProjection": "Items[]DownwardAPIVolumeFile",
    "NamedProjection": 'Name"" Items[]KeyToPath Optional-',
    "ServiceAccountTokenProjection": 'Audience"" ExpirationSeconds0 Path""',
    "PodCertificateProjection": 'SignerName"" KeyType"" MaxExpirationSeconds- CredentialBundlePath"" KeyPath"" '
    'CertificateChainPath"" UserAnnotations-',
    "VolumeProjection": "Secret*NamedProjection DownwardAPI*DownwardAPIProjection ConfigMap*NamedProjection "
    "ServiceAccountToken*ServiceAccountTokenProjection ClusterTrustBundle*ClusterTrustBundleProjection "
    "PodCertificate*PodCertificateProjection",
    "ProjectedVolumeSource": "Sources[]VolumeProjection DefaultMode-",
    "CSIVolumeSource": 'Driver"" ReadOnly- FSType- VolumeAttributes- NodePublishSecretRef*LocalObjectReference',
    "ImageVolumeSource": 'Reference"" PullPolicy""',
    "Volume": 'Name"" HostPath*HostPathVolumeSource EmptyDir*EmptyDirVolumeSource GCEPersistentDisk! '
    "AWSElasticBlockStore! GitRepo! Secret*SecretVolumeSource NFS*NFSVolumeSource ISCSI! Glusterfs! "
    "PersistentVolumeClaim*PersistentVolumeClaimVolumeSource RBD! Quobyte! FlexVolume! Cinder! CephFS! Flocker! "
    "DownwardAPI*DownwardAPIVolumeSource FC*FCVolumeSource AzureFile! ConfigMap*ConfigMapVolumeSource "
    "VsphereVolume! AzureDisk! PhotonPersistentDisk! Projected*ProjectedVolumeSource PortworxVolume! ScaleIO! "
    "StorageOS! CSI*CSIVolumeSource Ephemeral! Image*ImageVolumeSource",
    "PodAffinityTerm": 'LabelSelector~ Namespaces- TopologyKey"" NamespaceSelector~ MatchLabelKeys- MismatchLabelKeys-',
    "WeightedPodAffinityTerm": "Weight0 PodAffinityTermPodAffinityTerm",
    "PodAffinity": "RequiredDuringSchedulingIgnoredDuringExecution[]PodAffinityTerm "
    "PreferredDuringSchedulingIgnoredDuringExecution[]WeightedPodAffinityTerm",
    "PreferredSchedulingTerm": "Weight0 PreferenceNodeSelectorTerm",
    "NodeAffinity": "RequiredDuringSchedulingIgnoredDuringExecution*NodeSelector "
    "PreferredDuringSchedulingIgnoredDuringExecution[]PreferredSchedulingTerm",
    "Affinity": "NodeAffinity*NodeAffinity PodAffinity*PodAffinity PodAntiAffinity*PodAffinity",
    "TopologySpreadConstraint": 'MaxSkew0 TopologyKey"" WhenUnsatisfiable"" LabelSelector~ MinDomains- '
    "NodeAffinityPolicy- NodeTaintsPolicy- MatchLabelKeys-",
    "HostAlias": 'IP"" Hostnames-',
    "PodDNSConfigOption": 'Name"" Value-',
    "PodDNSConfig": "Nameservers- Searches- Options[]PodDNSConfigOption",
    "PodReadinessGate": 'ConditionType""',
    "PodOS": 'Name""',
    "PodSchedulingGate": 'Name""',
    "PodResourceClaim": 'Name"" ResourceClaimName- ResourceClaimTemplateName-',
    "PodSchedulingGroup": "PodGroupName-",
    "Sysctl": 'Name"" Value""',
    "PodSecurityContext": "HostNetwork? HostPID? HostIPC? ShareProcessNamespace- HostUsers- "
    "SELinuxOptions*SELinuxOptions WindowsOptions*WindowsOptions RunAsUser- RunAsGroup- RunAsNonRoot- "
    "SupplementalGroups- SupplementalGroupsPolicy- FSGroup- FSGroupChangePolicy- Sysctls[]Sysctl "
    "SeccompProfile*SeccompProfile AppArmorProfile*AppArmorProfile SELinuxChangePolicy-",
    "PodSpec": "Volumes[]Volume InitContainers[]Container Containers[]Container "
    'EphemeralContainers[]EphemeralContainer RestartPolicy"" TerminationGracePeriodSeconds- ActiveDeadlineSeconds- '
    'DNSPolicy"" NodeSelector- ServiceAccountName"" AutomountServiceAccountToken- NodeName"" '
    'SecurityContext*PodSecurityContext ImagePullSecrets[]LocalObjectReference Hostname"" Subdomain"" '
    'SetHostnameAsFQDN- Affinity*Affinity SchedulerName"" Tolerations[]Toleration HostAliases[]HostAlias '
    'PriorityClassName"" Priority- PreemptionPolicy- DNSConfig*PodDNSConfig ReadinessGates[]PodReadinessGate '
    "RuntimeClassName- Overhead- EnableServiceLinks- TopologySpreadConstraints[]TopologySpreadConstraint OS*PodOS "
    "SchedulingGates[]PodSchedulingGate ResourceClaims[]PodResourceClaim Resources*ResourceRequirements "
    "HostnameOverride- SchedulingGroup*PodSchedulingGroup",
}
