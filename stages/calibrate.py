"""What a distance means at every node, from held-out pairs → models/calibration.json."""

from pathlib import Path

from heml.errors import exit_on_error
from heml.params import load_params
from heml.tree import Tree


def main() -> None:
    tree = Tree.from_params(load_params())
    from heml.evaluation.calibration import calibrate, write_calibration  # brings torch, which what is checked above need not wait for
    from heml.evaluation.embeddings import read_all

    write_calibration(Path("models/calibration.json"), calibrate(read_all("data/embeddings", tree), tree))


if __name__ == "__main__":
    with exit_on_error():
        main()
