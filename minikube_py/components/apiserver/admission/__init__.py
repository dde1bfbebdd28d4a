"""Admission: what is filled into objects, and which writes are refused, before they reach the store.

``chain.build_chain`` gives the chain that the registry runs; each plugin has Kubernetes' name and texts.
"""
