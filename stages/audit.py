"""What to look at: siblings, mistakes and the nodes to blame, odd images, telling pairs → reports/audit."""

from heml.params import load_params
from heml.run import Run
from heml.running.stage import stage
from heml.tree import Tree


def main() -> None:
    params = load_params()
    tree = Tree.from_params(params)
    from heml.evaluation.audit import write_audit  # brings torch, which what is checked above need not wait for
    from heml.evaluation.embeddings import read_all
    from heml.evaluation.tree_metric import read_metric

    run = Run()
    write_audit(read_all(run.embeddings, tree), tree, read_metric(run.metric), params.evaluate, run.audit)


if __name__ == "__main__":
    with stage():
        main()
