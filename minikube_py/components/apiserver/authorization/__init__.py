"""Who may do what: RBAC, the Node authorizer, their union, and the reviews that ask them.

``union.UnionAuthorizer`` is what the API server calls; ``denial.denied`` makes the error of a refusal.
"""

from minikube_py.components.apiserver.authorization.denial import denied

__all__ = ["denied"]
