"""Names and all else in params.yaml are checked, what it no longer names is removed, and what it names by a path is
looked at → data/named.

Every other stage waits for this one, so that none has a name for its path that was not checked.
"""

import json
from pathlib import Path

from heml.atomic import new_folder
from heml.params import load_params
from heml.run import Run
from heml.running.definition import read_yaml
from heml.running.fingerprint import fingerprint
from heml.running.stage import stage
from heml.running.tidying import tidy
from heml.tree import Tree


def main() -> None:
    params = load_params()
    Tree.from_params(params)
    rule = params.dataset.label_rule
    named = {
        "dataset": rule.model if rule else None,
        "segmenter": params.segmenter.model,
        "train": params.train.weights,
    }
    with new_folder(Run().named) as partial:
        for section, path in named.items():
            (partial / f"{section}.json").write_text(json.dumps({"sha256": fingerprint(path)}) + "\n", "utf-8")
    pipeline, raw = (read_yaml(Path(name).read_bytes(), name) for name in ("dvc.yaml", "params.yaml"))
    if removed := tidy(pipeline, raw):
        print(f"no longer named, and removed: {', '.join(removed)}")


if __name__ == "__main__":
    with stage():
        main()
