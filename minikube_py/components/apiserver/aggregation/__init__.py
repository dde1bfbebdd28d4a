"""Aggregation: group versions that another server behind a Service answers (``kube-aggregator``).

``remote`` reads APIServices, ``local`` keeps one for each group version that is served here, ``availability`` asks the
others whether they are there, ``connections`` reaches them, ``aggregator`` is what the HTTP face sees: it passes
requests on and knows what discovery and OpenAPI have to show besides the kinds of this server.
"""
