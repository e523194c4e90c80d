"""HEML: explainable metric learning. Why are two images similar, and which part of the image says so?

The library knows nothing of DVC: `stages/` calls it, and so can you:

    tree = heml.MetricTree.load("models")
    print(tree.explain("a.jpg", "b.jpg"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heml.explanation.metric_tree import MetricTree

__version__ = "0.2.0"
__all__ = ["MetricTree", "__version__"]


def __getattr__(name: str) -> Any:
    """Import torch only for those who ask for it: half of the stages run without."""
    if name == "MetricTree":
        from heml.explanation.metric_tree import MetricTree

        return MetricTree
    raise AttributeError(f"module 'heml' has no attribute {name!r}")
