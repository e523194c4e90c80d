"""Embeddings of every node for every image → data/embeddings."""

from heml.params import load_params
from heml.run import Run
from heml.running.spread import across_cores
from heml.running.stage import stage
from heml.tree import Tree


def main() -> None:
    tree = Tree.from_params(load_params())
    # brings torch, which what is checked above need not wait for
    from heml.evaluation.embeddings import (
        write_embeddings,
    )

    write_embeddings(tree, Run(), across_cores)


if __name__ == "__main__":
    with stage():
        main()
