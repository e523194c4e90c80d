"""One segment's partition of the manifest → data/segments/segment=<name>."""

from heml.errors import HemlError
from heml.params import load_params
from heml.run import Run
from heml.running.spread import across_nodes
from heml.running.stage import stage
from heml.segments.manifest import write_manifest


def main(name: str) -> None:
    params = load_params()
    if name not in params.segments:
        raise HemlError(f"params.yaml: segments has no {name!r}; it has {', '.join(params.segments)}")
    share = write_manifest(name, params.segments[name], params.canvas, Run(), across_nodes)
    print(f"{name}: present in {share:.1%} of the images")


if __name__ == "__main__":
    with stage() as name:
        main(name)
