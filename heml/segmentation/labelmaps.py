"""The former place of `heml.segments.labelmaps`, for scripts that were written for it."""

from heml.segments.labelmaps import *  # noqa: F403
