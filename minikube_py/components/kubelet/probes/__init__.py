"""Probes of containers: the checks themselves and the tasks that repeat them."""
