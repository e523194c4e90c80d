"""Every node's embeddings, and the tree's, in the plane → data/map.parquet."""

from heml.params import load_params
from heml.run import Run
from heml.running.stage import stage
from heml.tree import Tree


def main() -> None:
    tree = Tree.from_params(load_params())
    from heml.evaluation.embeddings import read_all  # brings torch, which what is checked above need not wait for
    from heml.evaluation.mapping import write_map
    from heml.evaluation.tree_metric import read_metric

    run = Run()
    write_map(read_all(run.embeddings, tree), read_metric(run.metric), run.map)


if __name__ == "__main__":
    with stage():
        main()
