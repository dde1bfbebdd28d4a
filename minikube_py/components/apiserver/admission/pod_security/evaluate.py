"""Runs the checks of a level at a version, in the reference's order (by their ids within each level)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minikube_py.components.apiserver.admission.pod_security import baseline, restricted
from minikube_py.components.apiserver.admission.pod_security.findings import Finding, Subject
from minikube_py.components.apiserver.admission.pod_security.policy import LevelVersion


@dataclass(frozen=True, slots=True)
class Check:
    """``since`` is the first minor version with the check; a restricted one may replace a baseline one."""

    run: Callable[[Subject, int], Finding | None]
    since: int = 0
    replaces: Callable[[Subject, int], Finding | None] | None = None


BASELINE = (
    Check(baseline.app_armor_profile),
    Check(baseline.capabilities),
    Check(baseline.host_namespaces),
    Check(baseline.host_path_volumes),
    Check(baseline.host_ports),
    Check(baseline.host_probes, since=34),
    Check(baseline.privileged),
    Check(baseline.proc_mount),
    Check(baseline.se_linux_options),
    Check(baseline.seccomp_profile),
    Check(baseline.sysctls),
    Check(baseline.windows_host_process),
)
RESTRICTED = (
    Check(restricted.allow_privilege_escalation, since=8),
    Check(restricted.capabilities, since=22, replaces=baseline.capabilities),
    Check(baseline.any_proc_mount, since=35, replaces=baseline.proc_mount),
    Check(restricted.restricted_volumes, replaces=baseline.host_path_volumes),
    Check(restricted.run_as_non_root),
    Check(restricted.run_as_user, since=23),
    Check(restricted.seccomp_profile, since=19, replaces=baseline.seccomp_profile),
)


def evaluate(policy: LevelVersion, subject: Subject) -> Sequence[Finding]:
    """All violations of the level; none for privileged."""
    if policy.privileged:
        return ()
    checks: list[Check] = list(BASELINE)
    if policy.level == "restricted":
        stricter = [check for check in RESTRICTED if policy.minor >= check.since]
        replaced = [check.replaces for check in stricter if check.replaces is not None]
        checks = [check for check in BASELINE if check.run not in replaced] + stricter
    findings = (check.run(subject, policy.minor) for check in checks if policy.minor >= check.since)
    return [finding for finding in findings if finding is not None]
