"""Patches: pure functions of (schema, live object, patch) that return a private copy.

``json_patch`` (RFC 6902), ``merge_patch`` (RFC 7386) and ``strategic_patch`` (Kubernetes' own). Server-side
apply lives with managed fields. The live object is shared and never changed.
"""
