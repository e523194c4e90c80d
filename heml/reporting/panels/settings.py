"""How this run was made."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

import yaml

from heml import __version__
from heml.reporting.finished import Finished

PLACE = 160
TITLE = "Run"

_PACKAGES = (
    "torch",
    "torchvision",
    "transformers",
    "pytorch-metric-learning",
    "dvc",
    "pandas",
    "pyarrow",
    "numpy",
    "pillow",
)


def context(finished: Finished) -> dict[str, Any]:
    """Parameters and versions."""
    versions = {"heml": __version__, "python": platform.python_version()} | {
        p: importlib.metadata.version(p) for p in _PACKAGES
    }
    return {
        "versions": versions,
        "params": yaml.safe_dump(finished.params.model_dump(mode="json", exclude_none=True), sort_keys=False),
    }
