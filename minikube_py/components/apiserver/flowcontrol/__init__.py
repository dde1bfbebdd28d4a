"""API priority and fairness: which request is served now, which waits, which is sent away.

``schemas`` says which flow a request belongs to, ``level`` holds the seats and queues of one priority level,
``control`` puts both behind the one call of the HTTP face, ``consumer`` follows the FlowSchemas and
PriorityLevelConfigurations. Same rules as ``k8s.io/apiserver/pkg/util/flowcontrol`` where they can be observed;
what differs, because one event loop serves everything, stands in ``level``.
"""

from minikube_py.components.apiserver.flowcontrol.consumer import run_consumer
from minikube_py.components.apiserver.flowcontrol.control import FlowControl, TooManyRequests

__all__ = ["FlowControl", "TooManyRequests", "run_consumer"]
