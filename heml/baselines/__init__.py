"""Baselines: other ways to learn a metric and to explain it, on the same images, trunk and
evaluation."""
