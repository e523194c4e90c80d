"""How training images are made of two, for every segment that `recompose` names → data/recipes/<segment>.parquet; the
others' are empty."""

from heml.atomic import new_folder
from heml.params import load_params
from heml.run import Run
from heml.running.stage import stage
from heml.tree import Tree


def main() -> None:
    params = load_params()
    Tree.from_params(params)
    segments, run = list(params.segments), Run()
    from heml.bias.recomposing import make_recipes  # brings SciPy, which what is checked above need not wait for
    from heml.learning.recipes import write_recipes
    from heml.segments.manifest import read_manifest

    partitions = {name: read_manifest(run.segments, name) for name in segments} if params.recompose else {}
    with new_folder(run.recipes) as partial:
        for name in segments:
            settings = params.recompose.get(name)
            made = make_recipes(name, partitions, settings) if settings else None
            write_recipes(partial / run.recipe(name).name, made, partitions[name].image_ids if made else [])
    print(f"recomposed: {', '.join(params.recompose) or 'nothing'}")


if __name__ == "__main__":
    with stage():
        main()
