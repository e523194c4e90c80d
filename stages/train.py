"""One node of the metric tree → models/nodes/<node>.safetensors and reports/nodes/<node>.json."""

import argparse
from pathlib import Path

from heml.errors import exit_on_error
from heml.params import load_params
from heml.tree import Tree


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("node", help="a node of the tree in params.yaml")
    name = parser.parse_args().node
    params = load_params()
    node, settings = Tree.from_params(params)[name], params.node(name)
    from heml.learning.node import build_node  # brings torch, which what is checked above need not wait for

    report = build_node(
        node,
        settings,
        Path("data/canvases"),
        Path("data/segments"),
        Path("models/nodes"),
        Path("reports/nodes") / f"{name}.json",
        Path("data/recipes"),
    )
    score = "P@1 on val not measured" if report["val_p1"] is None else f"P@1 on val {report['val_p1']:.3f}"
    print(f"{name}: {report['note'] or score}")


if __name__ == "__main__":
    with exit_on_error():
        main()
