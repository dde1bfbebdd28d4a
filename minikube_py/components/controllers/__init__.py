"""The control loops of a cluster (kube-controller-manager): one module or package for each.

``run_controllers`` is the component: it starts every loop under a keeper of its own, as one group
that may be leader-elected. Loops share nothing but the client and its informers.
"""

from minikube_py.components.controllers.component import run_controllers
from minikube_py.components.controllers.settings import ControllerSettings

__all__ = ["ControllerSettings", "run_controllers"]
