"""Under which service account of ``kube-system`` each loop acts, as kube-controller-manager's
``--use-service-account-credentials`` has it. The bootstrap policy has a role ``system:controller:...`` for each.
"""

from __future__ import annotations

_ACCOUNTS = {
    "serviceaccount": "service-account-controller",
    "root-ca-certificate-publisher": "root-ca-cert-publisher",
    "endpoint-slice": "endpointslice-controller",
    "endpoint-slice-mirroring": "endpointslicemirroring-controller",
    "garbage-collector": "generic-garbage-collector",
    "node-ipam": "node-controller",
    "node-lifecycle": "node-controller",
    "taint-eviction": "node-controller",
    "pod-garbage-collector": "pod-garbage-collector",
    "horizontal-pod-autoscaler": "horizontal-pod-autoscaler",
    "daemonset": "daemon-set-controller",
    "persistentvolume-binder": "persistent-volume-binder",
    "persistentvolumeclaim-protection": "pvc-protection-controller",
    "persistentvolume-protection": "pv-protection-controller",
    "kubelet-serving-approving": "",
    "certificatesigningrequest-approving": "certificate-controller",
    "certificatesigningrequest-signing": "certificate-controller",
    "certificatesigningrequest-cleaner": "certificate-controller",
    "bootstrap-signer": "bootstrap-signer",
    "token-cleaner": "token-cleaner",
}
"""Those that are not called after their loop; empty: Kubernetes has no such loop, and no account for it."""


def account_of(loop: str) -> str:
    """``deployment`` -> ``deployment-controller``; empty when the loop has no account of its own."""
    return _ACCOUNTS.get(loop, f"{loop}-controller")
