"""Validation of pod specs, by part; ``spec.pod_spec_errors`` puts them together in Kubernetes' order."""
