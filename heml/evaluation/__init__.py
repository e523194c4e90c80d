"""How good every node's metric is: embeddings on disk, retrieval metrics with intervals, floors and limits."""
