"""Custom resources: kinds that CustomResourceDefinitions make at run time."""
