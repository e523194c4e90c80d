"""What each node weighs in the tree's answer, and what a distance means, from held-out pairs → models/metric.json."""

from heml.params import load_params
from heml.run import Run
from heml.running.stage import stage
from heml.tree import Tree


def main() -> None:
    params = load_params()
    tree = Tree.from_params(params)
    from heml.bias.balance import balanced  # brings torch, which what is checked above need not wait for
    from heml.evaluation.embeddings import read_all
    from heml.evaluation.tree_metric import write_metric
    from heml.evaluation.weighing import weigh

    run = Run()
    images = balanced(params.metric.balance, params.bias.groups, run)
    metric = weigh(read_all(run.embeddings, tree), tree, params.metric, params.evaluate.search, images)
    write_metric(run.metric, metric)
    told = sorted(metric.terms.items(), key=lambda item: -item[1].weight)[:5]
    print(f"{metric.weights} weights; most: {', '.join(f'{name} {term.weight:.2f}' for name, term in told)}")


if __name__ == "__main__":
    with stage():
        main()
