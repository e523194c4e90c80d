"""ImageNet's mean and standard deviation, by which pretrained networks have pixels normalised: per channel, red, green
and blue, of values in [0, 1]."""

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
