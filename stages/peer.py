"""What a peer reaches, what it costs and how it explains the report's pairs → reports/peers/<name>/."""

import argparse

from heml.errors import exit_on_error
from heml.params import load_params


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("baseline", help="an entry of baselines in params.yaml")
    name = parser.parse_args().baseline
    params = load_params()
    params.baseline(name)
    from heml.baselines.peers import write_peer  # brings torch, which what is checked above need not wait for

    row = write_peer(name, params)
    print(f"{name}: P@1 on test {row['p@1']:.3f}, {row['explanation_seconds']:.3f} s per explanation")


if __name__ == "__main__":
    with exit_on_error():
        main()
