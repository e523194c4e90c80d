"""One thin script per DVC stage: read the parameters, call `heml`, write the outs. Run by DVC as `python -m
stages.<name>`."""

import gc

from heml.running import stage

# imports make a million lasting objects; looking through them again and again takes a tenth of a stage
gc.set_threshold(200_000, 50, 1000)
stage.begin()
