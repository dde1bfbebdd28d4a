"""Volumes of pods: one module for each family of kinds, brought to the desired state by ``volumes``."""
