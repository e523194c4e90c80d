"""Images as they are kept: stored with labels and splits, decoded, laid on a canvas."""
