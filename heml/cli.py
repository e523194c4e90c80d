"""`heml …` for a person at a terminal."""

from __future__ import annotations

import argparse
import gc
import hashlib
import os
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from heml import __version__
from heml.atomic import new_file
from heml.errors import HemlError, exit_on_error, shown
from heml.images.store import SPLITS
from heml.machine import cores
from heml.params import Distance, load_params
from heml.reading import Findings, read_csv, read_json
from heml.tree import Tree, propose, to_yaml

if TYPE_CHECKING:  # what brings torch is imported by the command that needs it
    from heml.explanation.metric_tree import MetricTree
    from heml.explanation.pairs import Explanation
    from heml.explanation.views import Gallery


def _tree(arguments: argparse.Namespace) -> None:
    if arguments.pair is not None:
        tree = propose([name.strip() for name in arguments.pair.split(",") if name.strip()])
        print(tree.draw())
        print()
        print(to_yaml(tree))
        return
    params = load_params(arguments.params)
    tree = Tree.from_params(params)
    notes = {}
    for node in tree:
        own = params.node(node.name).model_dump()
        changed = {key: value for key, value in own.items() if value != getattr(params.train, key)}
        notes[node.name] = ", ".join(f"{key}: {value}" for key, value in changed.items())
    print(tree.draw(notes))
    print(f"\n{len(tree)} nodes, {len(tree.leaves())} leaves, {max(node.level for node in tree) + 1} levels: in order")
    unused = [name for name in params.segments if name not in tree.leaves()]
    if unused:
        print(f"segments without a leaf: {', '.join(unused)}")


def _check_images(names: Iterable[str], data: Path) -> None:
    """An unknown image is told before torch is imported to look at the known."""
    unknown = [name for name in names if not os.path.isfile(name)]  # noqa: PTH113 (pathlib fails at a name that is too long to be one)
    if unknown and (data / "canvases" / "index.parquet").is_file():
        from heml.images.canvas import canvas_index

        ids = canvas_index(data / "canvases").table(["image_id"])["image_id"].to_pylist()
        for name in unknown:
            if name not in ids:
                raise HemlError(f"{name[:200]}: no such file, and no image of the data set ({len(ids)} images, such as {ids[0]!r})")


def _explain(arguments: argparse.Namespace) -> None:
    _check_images([arguments.first, arguments.second], arguments.data)
    from heml.explanation.drawing import write_explanation
    from heml.explanation.metric_tree import MetricTree

    tree = MetricTree.load(arguments.models, arguments.data)
    explanation = tree.explain(arguments.first, arguments.second, arguments.distance)
    print(explanation)
    stem = arguments.out / f"{_file_name(explanation.first.name)}--{_file_name(explanation.second.name)}"
    paths = write_explanation(explanation, {name: header.box for name, header in tree.headers.items()}, stem)
    if arguments.counterfactual:
        paths.append(_counterfactual(tree, explanation, stem))
    print("\n" + "\n".join(map(str, paths)))


def _counterfactual(tree: MetricTree, explanation: Explanation, stem: Path) -> Path:
    from PIL import Image

    from heml.explanation.pairs import certainty, words
    from heml.explanation.pictures import side_by_side

    found = tree.counterfactual(explanation.first, explanation.second)
    if found is None:
        raise HemlError("no exchange of up to four parts turns the decision")
    parts = " and ".join(words(name) for name in found.segments)
    told = f"{'same' if found.log_odds > 0 else 'different'} ({certainty(found.log_odds)} %)"
    names = (shown(view.name) for view in (found.donor, explanation.first, explanation.second))
    print("\nwith the {} of {}, {} and {} are {}".format(parts, *names, told))
    path = stem.with_name(f"{stem.name}--changed.png")
    picture = side_by_side([explanation.first.canvas, found.donor.canvas, found.image.canvas])
    with new_file(path) as partial:
        Image.fromarray(picture).save(partial, "png")
    return path


def _neighbours(arguments: argparse.Namespace) -> None:
    _check_images([arguments.image], arguments.data)
    import matplotlib.pyplot as plt

    from heml.explanation.figures import grid_figure
    from heml.explanation.metric_tree import MetricTree
    from heml.explanation.neighbours import disagreements, neighbours
    from heml.explanation.pairs import digits
    from heml.images.store import read_description

    tree = MetricTree.load(arguments.models, arguments.data)
    gallery = _gallery(tree, arguments.data)
    node = tree.tree[arguments.node].name if arguments.node else tree.tree.root
    header, by = tree.headers[node], arguments.node or "the tree"
    view = tree.view(arguments.image)
    found = neighbours(view, gallery, node if arguments.node else tree.metric, arguments.count, arguments.split)
    if not found:
        raise HemlError(f"no image{f' of {arguments.split}' if arguments.split else ''} shows anything of {node!r}")
    names = [shown(name) for name in read_description(arguments.data / "images").label_names]
    own = gallery.embeddings[node].labels[gallery.row(view.name)] if view.name in gallery else None
    print(f"nearest to {shown(view.name)} by {by}: 0 is the same, 0.5 unrelated, 1 opposite")
    pictures = [(view.picture(tree.tree.sees(node), header.box), view.name if own is None else f"{view.name}\n{names[own]}", None)]
    for n in found:
        print(f"{digits(n.distance)}  {shown(n.image_id)}  {names[n.label]}  ({n.split})")
        picture = gallery.view(n.row).picture(tree.tree.sees(node), header.box)
        pictures.append((picture, f"{n.image_id}\n{names[n.label]}  {digits(n.distance)}", None if own is None else n.label == own))
    among = [node, *(tree.tree[name].name for name in arguments.against)] if arguments.against else list(tree.tree.nodes)
    told = disagreements(view, gallery, among, 5, node if arguments.against else None)
    if told:
        print("\nwhere nodes disagree most (share of all images that are nearer)")
    for d in told:
        print(f"{shown(d.image.image_id)}: near by {d.near} ({d.ranks[0]:.0f} %), far by {d.far} ({d.ranks[1]:.0f} %)")
    path = arguments.out / f"{_file_name(view.name)}--{arguments.node or 'tree'}.png"
    figure = grid_figure(f"Nearest by {by}", pictures)
    with new_file(path) as partial:
        figure.savefig(partial, format="png", dpi=110)
    plt.close(figure)
    print(f"\n{path}")


def _export(arguments: argparse.Namespace) -> None:
    from heml.explanation.metric_tree import MetricTree
    from heml.images.store import read_description

    if arguments.to.exists() and (not arguments.to.is_dir() or any(arguments.to.iterdir())):
        raise HemlError(f"{arguments.to}: exists and is not an empty folder; name a new one")
    tree = MetricTree.load(arguments.models, arguments.data)
    nodes = [tree.tree[name].name for name in arguments.node] or list(tree.tree.nodes)
    if arguments.format == "vectors":
        if arguments.node:
            raise HemlError("--node: a vector is of the whole tree; `metric.off` in params.yaml leaves parts out")
        from heml.exporting.vectors import write_vectors

        print(
            write_vectors(
                _gallery(tree, arguments.data), tree.metric, read_description(arguments.data / "images").label_names, arguments.to.resolve()
            )
        )
        return
    if arguments.format == "onnx":
        from heml.exporting.onnx_file import write_onnx

        for name in nodes:
            difference = write_onnx(tree, name, arguments.to / f"{name}.onnx")
            print(f"{arguments.to / name}.onnx  differs from torch by at most {difference:.1g}")
        return
    gallery = _gallery(tree, arguments.data)
    names = read_description(arguments.data / "images").label_names
    if arguments.format == "datasets":
        from heml.exporting.hub_folder import write_hub_folder

        write_hub_folder(gallery, nodes, arguments.to.resolve())
    else:
        from heml.exporting.arrays import write_numpy, write_projector

        {"numpy": write_numpy, "projector": write_projector}[arguments.format](gallery, nodes, names, arguments.to.resolve())
    print(arguments.to)


def _gallery(tree: MetricTree, data: Path) -> Gallery:
    if tree.gallery is None:
        raise HemlError(f"{data}: no embeddings there; run `dvc repro embed`, or name the folder with --data")
    return tree.gallery


def _datasets(arguments: argparse.Namespace) -> None:
    from heml.datasets.known import known_sources

    paths = [*sorted(arguments.presets.glob("*.yaml")), *([arguments.params] if arguments.params.is_file() else [])]
    if not paths:
        raise HemlError(f"{arguments.presets}: no presets here; run this in a project's folder, or name theirs with --presets")
    for source in known_sources(paths, arguments.presets.parent):
        print(f"{source.preset}: {shown(source.title)}")
        for line in source.lines:
            print(f"  {shown(line)}")
        print()


def _classes(arguments: argparse.Namespace) -> None:
    from heml.segments.coverage import class_coverage, proposed_segments, segments_yaml

    coverage = class_coverage(arguments.data / "images", arguments.data / "labelmaps")
    width = max(len(c.name) for c in coverage)
    print(f"{'class':{width}}  images  mean area (of the image, where it is there)")
    for c in coverage:
        if c.present:
            print(f"{shown(c.name):{width}}  {c.present:6.1%}  {c.area:9.2%}")
    if absent := [c.name for c in coverage if not c.present]:
        print(textwrap.fill(f"in no image: {', '.join(map(shown, absent))}", 120))
    unknown = [name for name in arguments.without if name not in {c.name for c in coverage}]
    if unknown:
        raise HemlError(f"--without: unknown {', '.join(unknown)}; the classes are those above")
    segments = proposed_segments(coverage, arguments.least, arguments.without)
    if len(segments) < 2:
        print(f"\nfewer than two classes are in {arguments.least:.0%} of the images: no tree to propose; lower --least")
        return
    print(f"\n# For params.yaml: the classes in at least {arguments.least:.0%} of the images.")
    print("\n".join(segments_yaml(segments)))
    print(f"\n{to_yaml(propose(list(segments)))}")


def _bias(arguments: argparse.Namespace) -> None:
    told = arguments.reports / "bias" / "findings.json"
    found = read_json(told, "dvc repro bias", Findings)
    for finding in found["findings"]:
        print(shown(finding["sentence"]))
        sides = (shown(f"{group} → {label}") for group, label in finding["told"].items())
        print(f"  tied in train: {', '.join(sides)}")
        part = finding["part"]
        ways = f"`recompose: {{{part}: {{}}}}`, `embed: {{hide: [{part}]}}` or `metric: {{balance: [{part}]}}`"
        print(f"  deflate it: {ways} in params.yaml (docs/bias.md)")
    if not found["findings"]:
        print("No part tells the label in train and not in the held-out images.")
    if arguments.all:
        print()
        columns = ("part", "kind", "follows", "suspect", *(f"v_{split}" for split in SPLITS))
        table = read_csv(arguments.reports / "bias/associations.csv", "dvc repro bias", columns, ("part", "kind", "follows"))
        for row in table.sort_values("v_train", ascending=False, kind="stable").to_dict("records"):
            values = "  ".join(f"{split} {row[f'v_{split}']:.2f}" for split in SPLITS)
            part, follows = shown(row["part"]), row["follows"]
            verdict = "in train alone" if row["suspect"] else f"follows {shown(follows)}" if isinstance(follows, str) else ""
            print(f"{part:>20} {row['kind']:<9} V: {values}  {verdict}".rstrip())
    print("\n" + "\n".join(found["caveats"]))


def _repro(arguments: argparse.Namespace) -> None:
    load_params()  # a mistake is told before anything starts
    if arguments.ray:
        from heml.running.cluster import repro as on_ray

        on_ray(arguments.targets, arguments.ray)
    else:
        from heml.running.side_by_side import repro

        repro(arguments.targets, arguments.jobs)


def _distance(name: str) -> str:
    try:
        found: str = TypeAdapter(Distance).validate_python(name)
    except ValidationError:
        raise argparse.ArgumentTypeError(f"{name!r} is none; choose snr, euclidean, cosine, l1, l2 …") from None
    return found


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a fraction above 0, at most 1")
    return value


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 1 to 100")
    return int(text)


def _add_run(parser: argparse.ArgumentParser) -> None:
    """Where a finished run lies."""
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of a finished run (default: models)")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of its data, for images by image_id (default: data)")


def _add_out(parser: argparse.ArgumentParser, out: str) -> None:
    parser.add_argument("--out", type=Path, default=Path(out), help=f"where files go (default: {out})")


def _file_name(name: str) -> str:
    """A name from data as part of a file's name: at most 80 bytes; of a longer one the beginning and a hash of all of it."""
    plain = re.sub(r"[^\w.-]+", "_", name).lstrip(".") or "image"
    if len(plain.encode()) <= 80:
        return plain
    return f"{plain.encode()[:68].decode(errors='ignore')}-{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:8]}"


def main(argv: list[str] | None = None) -> None:
    """The command line; exits with 1 and one message on an error the user can put right."""
    parser = argparse.ArgumentParser(prog="heml", description="Explainable metric learning: why are two images similar?")
    parser.add_argument("--version", action="version", version=f"heml {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    tree = commands.add_parser("tree", help="print the tree of params.yaml and check it, or propose one")
    tree.add_argument("--params", type=Path, default=Path("params.yaml"), help="parameter file (default: params.yaml)")
    tree.add_argument("--pair", metavar="A,B,…", help="propose levels for these segments instead")
    tree.set_defaults(run=_tree)

    repro = commands.add_parser("repro", help="`dvc repro`, several stages at a time: the same results in less time")
    repro.add_argument("targets", nargs="*", metavar="STAGE", help="bring these up to date, with all they depend on (default: everything)")
    repro.add_argument("-j", "--jobs", type=_count, default=min(cores(), 100), help="how many at a time (default: one per core)")
    repro.add_argument("--ray", metavar="ADDRESS", help="on the Ray cluster at this address instead (docs/scaling.md)")
    repro.set_defaults(run=_repro)

    explain = commands.add_parser("explain", help="why two images are similar: the decision as a sum of what every part says")
    explain.add_argument("first", help="an image file, or an image_id of the data set")
    explain.add_argument("second")
    explain.add_argument(
        "--distance",
        action="append",
        default=[],
        type=_distance,
        metavar="NAME",
        help="report this one too; may be repeated: snr, euclidean, cosine, l1 …",
    )
    explain.add_argument("--counterfactual", action="store_true", help="show what would have to change for the decision to turn")
    _add_run(explain)
    _add_out(explain, "reports/explanations")
    explain.set_defaults(run=_explain)

    near = commands.add_parser("neighbours", help="the images nearest to one image, by the whole or by one part")
    near.add_argument("image", help="an image file, or an image_id of the data set")
    near.add_argument("--node", help="compare by this node alone (default: by the whole tree)")
    near.add_argument("--count", type=_count, default=9, help="how many (default: 9)")
    near.add_argument("--split", choices=SPLITS, help="search this split alone (default: all images)")
    near.add_argument(
        "--against",
        action="append",
        metavar="NODE",
        help="name where --node (or the root) disagrees with this one; may be repeated (default: any two nodes)",
    )
    _add_run(near)
    _add_out(near, "reports/neighbours")
    near.set_defaults(run=_neighbours)

    export = commands.add_parser("export", help="embeddings or networks in the formats of other tools")
    export.add_argument("format", choices=["vectors", "numpy", "projector", "datasets", "onnx"])
    export.add_argument("to", type=Path, help="a new folder")
    export.add_argument("--node", action="append", default=[], metavar="NODE", help="this node alone; may be repeated (default: all)")
    _add_run(export)
    export.set_defaults(run=_export)

    bias = commands.add_parser("bias", help="which part tells the label in the training images alone, and whether the tree leans on it")
    bias.add_argument("--reports", type=Path, default=Path("reports"), help="folder, after `dvc repro bias` (default: reports)")
    bias.add_argument("--all", action="store_true", help="list everything that was looked at, the strongest tie first")
    bias.set_defaults(run=_bias)

    classes = commands.add_parser("classes", help="what the segmenter found in your images, and segments and a tree to start from")
    classes.add_argument("--data", type=Path, default=Path("data"), help="folder of the data, after `dvc repro segment` (default: data)")
    classes.add_argument("--least", type=_fraction, default=0.1, help="propose classes in this fraction of the images (default: 0.1)")
    classes.add_argument("--without", action="append", default=[], metavar="CLASS", help="leave this class out; may be repeated")
    classes.set_defaults(run=_classes)

    datasets = commands.add_parser(
        "datasets", help="the data sets and models of the presets: their size, licence and what of them is on this machine"
    )
    datasets.add_argument("--presets", type=Path, default=Path("presets"), help="folder of parameter files (default: presets)")
    datasets.add_argument("--params", type=Path, default=Path("params.yaml"), help="your own parameter file (default: params.yaml)")
    datasets.set_defaults(run=_datasets)

    arguments = parser.parse_args(argv)
    gc.set_threshold(200_000, 50, 1000)  # importing torch makes millions of lasting objects: looking through them again and again takes 2 s
    with exit_on_error():
        arguments.run(arguments)


if __name__ == "__main__":
    main()
