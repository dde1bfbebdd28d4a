"""The default plugins, one module each, named as in Kubernetes' ``framework/plugins``."""
