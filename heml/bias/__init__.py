"""Bias with a name: which part of the images tells the label in `train` alone, and whether the tree leans on it."""
