"""The kinds of one API group, in the order in which discovery lists them."""

from __future__ import annotations

from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.batch import (
    cron_job,
    job,
)

KINDS: tuple[Kind, ...] = (
    cron_job.KIND,
    job.KIND,
)
