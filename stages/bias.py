"""Which part tells the label in train alone, and whether the tree leans on it → reports/bias, reports/bias.json."""

from heml.params import load_params
from heml.run import Run
from heml.running.stage import stage
from heml.tree import Tree


def main() -> None:
    params = load_params()
    Tree.from_params(params)
    from heml.bias.write import write_bias  # brings torch, which what is checked above need not wait for

    found = write_bias(params, Run())
    print("\n".join(finding.sentence for finding in found) or "no part tells the label in train alone")


if __name__ == "__main__":
    with stage():
        main()
