"""The former place of `heml.segments.manifest`, for scripts that were written for it."""

from heml.segments.manifest import *  # noqa: F403
