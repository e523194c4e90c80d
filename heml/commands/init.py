"""A params.yaml to start from, made of a folder of photographs."""

from __future__ import annotations

import argparse
import shlex
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from heml.atomic import new_file
from heml.commands.common import Commands
from heml.commands.screen import FAINT, PATH, STRONG, WARN, Screen, add_output, drawing, text
from heml.errors import HemlError, shown

if TYPE_CHECKING:
    from heml.starting.looking import Photos
    from heml.starting.models import Model
    from heml.starting.proposal import Proposal, Question
    from heml.starting.table import Table


def add(commands: Commands) -> None:
    """What the command takes."""
    parser = commands.add_parser("init", help="a params.yaml that runs, from a folder of photographs")
    parser.add_argument(
        "photos",
        type=Path,
        help="a folder of image files, or of images/, masks/, classes.json, labels.csv (docs/own_data.md)",
    )
    parser.add_argument(
        "--ask",
        nargs="+",
        default=[],
        metavar="PART",
        help="the label: does the image show this part (or any of several)? such as glasses",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="TABLE",
        help="a CSV file with a row per image (default: labels.csv in the folder)",
    )
    parser.add_argument(
        "--label", metavar="COLUMN", help="the column of that table that is the label (default: the likeliest)"
    )
    parser.add_argument(
        "--model",
        help=(
            "a SegFormer to cut the photographs with: a folder, or a hub id with --revision (default: by what is asked)"
        ),
    )
    parser.add_argument("--revision", metavar="SHA", help="the commit of --model, all 40 digits")
    parser.add_argument(
        "--presets",
        type=Path,
        default=Path("presets"),
        help="folder of parameter files to take settings from (default: presets)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("params.yaml"), help="the file to write (default: params.yaml)"
    )
    parser.add_argument(
        "--force", action="store_true", help="replace a parameter file that is there; the old one is kept"
    )
    add_output(parser, "the file written")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    from heml.starting.gathering import gather
    from heml.starting.looking import look
    from heml.starting.proposal import ask, draft
    from heml.starting.table import read_table

    if arguments.out.exists() and not arguments.force:
        raise HemlError(
            f"{arguments.out}: is there already; --force replaces it and says how to get it back, --out names another"
            " file"
        )
    if arguments.revision and not arguments.model:
        raise HemlError("--revision: is the commit of --model, which is not given")
    photos = look(arguments.photos)
    beside = arguments.photos / "labels.csv"
    path = arguments.labels or (beside if beside.is_file() else None)
    table = read_table(path, photos.images) if path else None
    model, why = _cut_by(arguments, photos, table)
    question = ask(arguments.ask, photos, table, model, arguments.label)
    where, gathered = _where(arguments.out, photos, table, question)
    preset = arguments.presets / f"{model.preset if model and model.preset else 'faces'}.yaml"
    if not preset.is_file():
        raise HemlError(f"{preset}: no such file; run this in the project's folder, or name its presets with --presets")
    shown_path = _relative(where, arguments.out)
    # Everything that can fail comes before anything is written.
    proposal = draft(photos, shown_path, question, table, model, why, preset.read_text("utf-8"), _command(arguments))
    if gathered:
        gather(photos, table, None if question.classes else question.label, where, arguments.force)
    back = _keep(arguments.out) if arguments.out.exists() else None
    with new_file(arguments.out) as partial:
        partial.write_text(proposal.text, "utf-8")
    screen = Screen.of(arguments)
    _say(screen, arguments.out, photos, table, proposal, _where_words(shown_path, gathered, photos), back)
    screen.document(
        {
            "file": arguments.out,
            "dataset": {
                "path": shown_path,
                "gathered": gathered,
                "images": len(photos.images),
                "masks": len(photos.masks),
            },
            "label": {
                "name": question.label,
                "classes": question.classes,
                "area": question.area if question.classes else None,
            },
            "model": model.name if model else None,
            "segments": list(proposal.params.segments),
            "root": proposal.tree.root,
            "assumed": proposal.assumed,
            "back": back,
            "next": "heml repro",
        }
    )


def _cut_by(arguments: argparse.Namespace, photos: Photos, table: Table | None) -> tuple[Model | None, str]:
    """What cuts the parts, and why that: what was typed, or else the masks (None), or else what knows what is asked."""
    from heml.starting.models import named_model, preset_models
    from heml.starting.proposal import choose

    if arguments.model:
        known = {m.name: m for m in preset_models(arguments.presets)}
        model = known.get(arguments.model)
        if model is None or arguments.revision not in (None, model.revision):
            model = named_model(arguments.model, arguments.revision)
        return model, "as --model says"
    if photos.masks:
        return None, ""
    # A word that is a column of the table asks for no part.
    asked = [word for word in arguments.ask if not (table and word.casefold() in map(str.casefold, table.columns))]
    if not asked and not table:
        raise HemlError(
            f"{arguments.photos}: nothing says what to learn; ask for a part (--ask glasses), or give a table of"
            " labels (--labels table.csv)"
        )
    return choose(asked, photos, preset_models(arguments.presets))


def _say(
    screen: Screen,
    out: Path,
    photos: Photos,
    table: Table | None,
    proposal: Proposal,
    where: Iterable[str],
    back: str | None,
) -> None:
    """What was found and assumed, the tree, and what comes next."""
    _say_found(screen, photos, table)
    for line in proposal.assumed:
        head, _, rest = line.partition(": ")
        screen.say(text((f"{head}: ", STRONG), rest))
    screen.say("", drawing(proposal.tree), "")
    for line in where:
        screen.say(text(line))
    if back:
        screen.say(text("the old parameters: ", (back, STRONG)))
    if not (out.resolve().parent / "dvc.yaml").is_file():
        screen.say(text(("there is no dvc.yaml beside it: it runs in the project's folder", WARN)))
    if screen.quiet:
        screen.result(text((str(out), PATH)))
        return
    screen.say(text("written: ", (str(out), PATH)), wrap=False)
    screen.say(
        text("next: ", ("heml repro", STRONG), ("   then `heml bias`, `heml explain A B`, reports/index.html", FAINT))
    )


def _command(arguments: argparse.Namespace) -> str:
    """What was typed, on one line."""
    words = ["heml", "init", str(arguments.photos), *(["--ask", *arguments.ask] if arguments.ask else [])]
    for name in ("labels", "label", "model", "revision"):
        if (value := getattr(arguments, name)) is not None:
            words += [f"--{name}", str(value)]
    return shown(shlex.join(words))


def _where(out: Path, photos: Photos, table: Table | None, question: Question) -> tuple[Path, bool]:
    """Where the pipeline is to read the photographs, and whether they must be gathered there first."""
    from heml.starting.places import plain

    used = table is not None and (not question.classes or table.path != photos.root / "labels.csv")
    fits = not used or (
        table is not None and table.as_it_is and table.path == photos.root / "labels.csv" and _complete(table, question)
    )
    if photos.laid_out and fits:
        return photos.root.resolve(), False
    return out.resolve().parent / "data" / "raw" / (plain(photos.root.resolve().name) or "photographs"), True


def _complete(table: Table, question: Question) -> bool:
    return bool(question.classes) or table.values(question.label).total() == len(table.rows)


def _relative(where: Path, out: Path) -> str:
    project = out.resolve().parent
    return where.relative_to(project).as_posix() if where.is_relative_to(project) else str(where)


def _say_found(screen: Screen, photos: Photos, table: Table | None) -> None:
    from heml.starting.looking import sizes_in_words, within

    screen.say(
        text((f"{photos.root}: ", STRONG), f"{len(photos.images):,} photographs, {sizes_in_words(photos.sizes)}")
    )
    if photos.unreadable:
        screen.say(
            text((f"  {len(photos.unreadable)} cannot be opened and are left out: {within(photos.unreadable)}", WARN))
        )
    if photos.others and photos.laid_out:
        screen.say(text((f"  no images: {within(photos.others)}", FAINT)))
    if photos.masks:
        screen.say(
            text(f"  {len(photos.masks):,} masks of {len(photos.classes)} classes; {len(photos.looked)} looked at")
        )
    if table:
        about = f"  {table.path}: {len(table.rows):,} images, columns {', '.join(table.columns) or 'none'}"
        about += ", with splits" if table.splits else ", no splits: they are drawn"
        screen.say(text(about + (f"; {table.unknown} rows of images that are not there" if table.unknown else "")))


def _where_words(path: str, gathered: bool, photos: Photos) -> list[str]:
    if gathered:
        return [f"photographs: linked into {path}, where DVC sees them; those in {photos.root} stay as they are"]
    if Path(path).is_absolute():
        return [
            f"photographs: read where they lie, outside the project ({path}): DVC sees their changes and keeps no copy"
            " of them; who clones the project needs them at the same path, or another dataset.path"
        ]
    return [f"photographs: read where they lie, {path}"]


def _keep(out: Path) -> str:
    """Keep an old parameter file, and say how to get it back."""
    run = ["git", "-C", str(out.resolve().parent)]
    name = out.name
    try:
        tracked = (
            subprocess.run([*run, "ls-files", "--error-unmatch", name], capture_output=True, check=False).returncode
            == 0
        )
        clean = (
            tracked
            and not subprocess.run([*run, "status", "--porcelain", "--", name], capture_output=True, check=False).stdout
        )
    except FileNotFoundError:  # no git
        clean = False
    if clean:
        return f"git checkout {shlex.quote(str(out))}"
    number, kept = 1, out.with_name(f"{out.stem}.old{out.suffix}")
    while kept.exists():
        number += 1
        kept = out.with_name(f"{out.stem}.old{number}{out.suffix}")
    with new_file(kept) as partial:
        partial.write_bytes(out.read_bytes())
    return f"mv {shlex.quote(str(kept))} {shlex.quote(str(out))}"
