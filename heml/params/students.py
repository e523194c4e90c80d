"""`students`: small networks that learn from a node."""

from __future__ import annotations

from pydantic import Field

from heml.params.methods import Trunk
from heml.params.section import Name, Strict


class Student(Strict):
    """A small network that learns the loss of `train`, and the metric of a trained node beside it (Yu et al., CVPR
    2019)."""

    teacher: Name
    """The node, most often the root."""
    trunk: Trunk = "mobilenet_v3_small"
    """The student's own."""
    hidden_dim: int = Field(128, ge=1)
    """Width of the layer between trunk and embedding."""
    epochs: int = Field(20, ge=1, le=1000)
    """Passes over the training images."""
    lr: float = Field(1e-3, gt=0)
    """Peak learning rate."""
    absolute: float = Field(0.0, ge=0)
    """λ of the distance between the two embeddings of an image, beside the student's own loss of weight 1."""
    relative: float = Field(0.3, ge=0)
    """λ of the difference between the two distances of a pair."""
