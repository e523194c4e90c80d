"""One node of the metric tree → models/nodes/<node>.safetensors and reports/nodes/<node>.json; meanwhile
reports/live/nodes/<node>.json."""

from heml.params import load_params
from heml.run import Run
from heml.running.stage import stage
from heml.tree import Tree


def main(name: str) -> None:
    params = load_params()
    node, settings = Tree.from_params(params)[name], params.node(name)
    from heml.learning.node import build_node  # brings torch, which what is checked above need not wait for

    report = build_node(node, settings, Run())
    score = "P@1 on val not measured" if report["val_p1"] is None else f"P@1 on val {report['val_p1']:.3f}"
    print(f"{name}: {report['note'] or score}")


if __name__ == "__main__":
    with stage() as name:
        main(name)
