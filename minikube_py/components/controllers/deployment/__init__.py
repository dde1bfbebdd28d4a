"""Deployments: rollouts over ReplicaSets (``pkg/controller/deployment``)."""
