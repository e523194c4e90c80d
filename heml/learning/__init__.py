"""One node's metric: compose its input, build trunk and embedder, start from the children, train, store."""

from heml.imports import defer

defer("torchvision", "torchvision.models", "torchvision.ops")  # trunks are imported one by one
defer(
    "pytorch_metric_learning.samplers", "scipy.stats", "scipy.special"
)  # of which a few losses and one sampler are used
