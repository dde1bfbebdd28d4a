"""Who asks: authenticators (certificates, tokens, front proxies), impersonation, and the reviews about them.

``union.UnionAuthenticator`` is what the API server calls; ``impersonation.impersonate`` runs after it.
"""
