"""Experiments on real networks: the one place that imports torch."""
