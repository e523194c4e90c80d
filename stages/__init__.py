"""One thin script per DVC stage: read the parameters, call `heml`, write the outs. Run as `python -m stages.<name>`."""
