"""Pods on this node: workers, decisions, containers, status."""
