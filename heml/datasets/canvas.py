"""The former place of `heml.images.canvas`, for scripts that were written for it."""

from heml.images.canvas import *  # noqa: F403
