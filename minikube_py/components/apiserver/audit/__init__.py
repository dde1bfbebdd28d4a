"""Audit: who asked for what, and what came of it.

``policy`` says how much of a request is written down, ``events`` makes the event, ``file`` and ``webhook`` are the
two backends behind the bounded queue of ``batches``, ``auditor`` is what the HTTP face calls, and what
``apiserver.local_audit`` calls for this process's own components. Events have the form of ``audit.k8s.io/v1``.
"""
