"""Deep metric learning as usual: one trunk, one embedder, explained by Grad-CAM."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from heml.baselines.evidence import Evidence, saliency
from heml.learning.networks import MetricNetwork
from heml.learning.objectives import Objective, objective
from heml.params import Train


class Traditional(MetricNetwork):
    """A node's network; its explanation is the similarity's gradient at the last feature map."""

    def aim(self, settings: Train, classes: int) -> Objective:
        """Any loss of the project."""
        return objective(settings, classes)

    def evidence(self, first: torch.Tensor, second: torch.Tensor) -> Evidence:
        """Grad-CAM (Selvaraju et al., ICCV 2017) of the cosine of two embeddings, as of any scalar: channels weighted
        by their mean gradient, the positive part of the sum.

        Args:
            first, second: (1, 3, h, w) prepared images.
        """
        with torch.inference_mode(False), torch.no_grad():
            features = self.trunk(torch.cat([first, second]))
        with torch.inference_mode(False), torch.enable_grad():
            a, b = self.embedder(features.requires_grad_())
            cosine = F.cosine_similarity(a, b, dim=0)
            (gradient,) = torch.autograd.grad(cosine, features)
        maps = (gradient.mean((2, 3), keepdim=True) * features.detach()).sum(1)
        return Evidence(1 - cosine.item(), {"Grad-CAM": saliency(maps, (first.shape[2], first.shape[3]))})
