"""Run the pipeline faster than `dvc repro` and with the same result: stages side by side, on one machine or on a Ray
cluster.

The only room that knows of DVC. Whatever happens here, DVC alone decides what is up to date: a stage runs by `dvc
repro` or not at all.
"""
