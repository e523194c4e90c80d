"""One segment's partition of the manifest → data/segments/segment=<name>."""

import argparse

from heml.errors import HemlError, exit_on_error
from heml.params import load_params
from heml.running.spread import across_nodes
from heml.segments.manifest import write_manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="a segment of params.yaml")
    name = parser.parse_args().name
    params = load_params()
    if name not in params.segments:
        raise HemlError(f"params.yaml: segments has no {name!r}; it has {', '.join(params.segments)}")
    folder = f"data/segments/segment={name}"
    share = write_manifest("data/images", "data/labelmaps", folder, name, params.segments[name], params.canvas, across_nodes)
    print(f"{name}: present in {share:.1%} of the images")


if __name__ == "__main__":
    with exit_on_error():
        main()
