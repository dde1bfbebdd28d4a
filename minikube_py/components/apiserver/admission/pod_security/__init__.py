"""PodSecurity: the Pod Security Standards (privileged, baseline, restricted) by namespace labels.

``plugin`` is the admission plugin, ``policy`` reads the labels, ``baseline`` and ``restricted`` hold the
checks, ``evaluate`` puts them together.
"""

from minikube_py.components.apiserver.admission.pod_security.plugin import Exemptions, PodSecurity

__all__ = ["Exemptions", "PodSecurity"]
