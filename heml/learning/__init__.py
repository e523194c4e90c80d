"""One node's metric: compose its input, build trunk and embedder, start from the children, train, store."""

from heml.imports import defer

defer("torchvision", "torchvision.models", "torchvision.ops")  # trunks are imported one by one
# a few losses and one sampler of theirs are used
defer("pytorch_metric_learning.samplers", "scipy.stats", "scipy.special")
