"""Retrieval metrics of every node → reports/nodes.csv, the few that compare experiments → reports/metrics.json, and what
stands in two splits → reports/duplicates.csv, and the whole tree as a peer of other methods → reports/peers/tree."""

import json

from heml.atomic import new_file
from heml.baselines.measure import write_tree
from heml.datasets.store import read_description
from heml.errors import exit_on_error
from heml.evaluation.duplicates import near_duplicates
from heml.evaluation.embeddings import read_all
from heml.evaluation.table import node_table, summary
from heml.evaluation.whole import tree_scores
from heml.params import load_params
from heml.tree import Tree


def main() -> None:
    params = load_params()
    tree = Tree.from_params(params)
    embeddings = read_all("data/embeddings", tree)
    table = node_table(tree, embeddings, params.segments, read_description("data/images"), params.evaluate)
    metrics = summary(table, tree.root) | tree_scores(embeddings, tree.root, params.evaluate)
    with new_file("reports/nodes.csv") as partial:
        table.to_csv(partial, index=False, float_format="%.4f")
    with new_file("reports/duplicates.csv") as partial:
        near_duplicates("data/canvases", params.evaluate.near_duplicate).to_csv(partial, index=False)
    with new_file("reports/metrics.json") as partial:
        partial.write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")
    write_tree(table, params)
    print(", ".join(f"{name} {value:.3f}" for name, value in metrics.items()))


if __name__ == "__main__":
    with exit_on_error():
        main()
