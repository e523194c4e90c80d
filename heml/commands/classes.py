"""What the segmenter found, and segments and a tree to start from."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

from heml.commands.common import Commands, fraction
from heml.errors import HemlError, shown


def add(commands: Commands) -> None:
    """What the command takes."""
    parser = commands.add_parser("classes", help="what the segmenter found in your images, and segments and a tree to start from")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the data, after `dvc repro segment` (default: data)")
    parser.add_argument("--least", type=fraction, default=0.1, help="propose classes in this fraction of the images (default: 0.1)")
    parser.add_argument("--without", action="append", default=[], metavar="CLASS", help="leave this class out; may be repeated")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    from heml.segments.coverage import class_coverage, proposed_segments, segments_yaml
    from heml.tree import propose, to_yaml

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
