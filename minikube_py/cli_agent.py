"""``pyk3s agent``: a worker of a cluster whose server runs elsewhere; names and flags are k3s's.

Exit codes: 0 stopped by SIGTERM or SIGINT; 1 a failure, told in one line.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from minikube_py import config
from minikube_py.cli_options import given, settings_options
from minikube_py.config_agent import AgentSettings, load_agent_settings


@click.command()
@settings_options(AgentSettings, aliases={"server": ["--join"]})
def agent(**flags: Any) -> None:
    """Join a cluster as a worker.

    A worker runs the kubelet, the service proxy, the pod network and DNS, but no API.
    """
    from minikube_py.joining.errors import JoinError
    from minikube_py.serving.errors import StartError
    from minikube_py.worker import run_worker

    settings = load_agent_settings(given(flags), config.environment())
    try:
        run_worker(settings)
    except (StartError, JoinError) as error:
        sys.exit(f"pyk3s: {error}")
