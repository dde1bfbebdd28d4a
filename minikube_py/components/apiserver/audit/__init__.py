"""Audit: who asked for what, and what came of it.

``policy`` says how much of a request is written down, ``events`` makes the event, ``file`` and ``webhook`` are the
two backends behind the bounded queue of ``batches``, ``auditor`` is what the HTTP face calls. Events have the form
of ``audit.k8s.io/v1``. Requests of this process's own components do not come through the face and are not audited.
"""
