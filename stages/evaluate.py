"""What every node and the tree reach → reports/nodes.csv, what compares experiments → reports/metrics.json, whether
probabilities are what they say → reports/reliability.csv, and the tree as a method beside others →
reports/comparison/tree."""

from heml.atomic import new_file
from heml.baselines.measure import write_tree
from heml.cells import write_csv
from heml.evaluation.embeddings import read_all
from heml.evaluation.table import node_table, summary, tree_scores
from heml.evaluation.tree_metric import read_metric
from heml.images.shards import read_description
from heml.json_file import write_json
from heml.params import load_params
from heml.run import Run
from heml.running.stage import stage
from heml.tree import Tree


def main() -> None:
    params, run = load_params(), Run()
    tree = Tree.from_params(params)
    embeddings = read_all(run.embeddings, tree)
    metric = read_metric(run.metric)
    table = node_table(
        tree, embeddings, metric, params.segments, read_description(run.images), params.evaluate, params.metric
    )
    scores, reliability = tree_scores(embeddings, tree, metric, params.evaluate)
    metrics = summary(table, tree.root, scores)
    with new_file(run.reliability) as partial:
        write_csv(reliability, partial, "%.4f")
    with new_file(run.table) as partial:
        write_csv(table, partial, "%.4f")
    write_json(run.metrics, metrics)
    write_tree(scores, params, run)
    print(", ".join(f"{name} {value:.3f}" for name, value in metrics.items()))


if __name__ == "__main__":
    with stage():
        main()
