"""What params.yaml no longer names is gone: outs of former keys, their entries in dvc.lock, and what killed processes
left.

DVC forgets a stage that is no longer in dvc.yaml, and leaves its outs where they are. Whoever reads the folder would
read them, and record a folder that nobody has who starts from the same params.yaml. They stay in DVC's cache, from
which they come back with the key.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Container
from pathlib import Path, PurePosixPath

from heml.atomic import clear_unfinished, new_file
from heml.run import Run
from heml.running.definition import Definition, Yaml, all_names, templated_outs


def tidy(pipeline: Yaml, params: Yaml) -> list[str]:
    """Remove it from the working folder; returns the paths of outs that were removed."""
    clear_unfinished()
    for curve in Run().live("any", "any").parents[1].glob("*/*.json"):  # of training that did not end
        curve.unlink()
    names = list(all_names(pipeline, params))
    outs = {out for name in names for out in Definition.of(name, pipeline, params).outs}
    removed = []
    for template in sorted(set(templated_outs(pipeline))):
        before, _, after = PurePosixPath(template).name.partition("${key}")
        for path in Path(template).parent.glob("*"):
            if path.as_posix() not in outs and path.name.startswith(before) and path.name.endswith(after):
                removed.append(path.as_posix())
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
    _forget(Path("dvc.lock"), names)
    return removed


def _forget(lock: Path, names: Container[str]) -> None:
    """Take stages out of dvc.lock that are no more; every other line stays as DVC wrote it."""
    if not lock.is_file():
        return
    kept, keep = [], True
    text = lock.read_text("utf-8")
    for line in text.splitlines(keepends=True):
        if re.match(r"\S", line):  # a section
            keep = True
        elif entry := re.match(r"""  (["']?)([^\s"'].*)\1:$""", line.rstrip()):
            keep = entry[2] in names
        if keep:
            kept.append(line)
    if len(kept) < len(text.splitlines()):
        with new_file(lock) as partial:
            partial.write_text("".join(kept), "utf-8")
