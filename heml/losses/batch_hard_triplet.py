"""The triplet loss on the farthest positive and the nearest negative of every anchor (Hermans et al. 2017)."""

from heml.losses import ANY, Loss
from heml.losses.triplet_margin import build

LOSS = Loss({"margin": 0.1}, ANY, ("batch_hard",), build)
