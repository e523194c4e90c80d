"""The former place of `heml.images.store`, for scripts that were written for it."""

from heml.images.store import *  # noqa: F403
