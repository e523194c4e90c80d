"""One node's metric: compose its input, build trunk and embedder, start from the children, train, store."""
