"""The scheduler: binds pods without a node to the best one (kube-scheduler's framework and plugins).

``component.run_scheduler`` is the entry; ``cycle.decide`` is the decision; ``plugins`` holds the
rules; ``queue`` who waits for what; ``cache`` what is on which node.
"""

from __future__ import annotations

from minikube_py.components.scheduler.component import SchedulerSettings, run_scheduler

__all__ = ["SchedulerSettings", "run_scheduler"]
