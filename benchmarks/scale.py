"""Memory and time of the stages that touch every image, as the set grows: peak memory should stay flat, time grow in
line.

    python -m benchmarks.scale [--images 5000 20000] [--side 256] [--work FOLDER]

A hub on 127.0.0.1 serves drawn JPEG images in Parquet files of 500 rows (so that all eight connections are busy at
either size) and a tiny SegFormer with random weights. Each stage runs as the pipeline runs it, in a process of its own,
whose peak resident memory the operating system reports. Prints Markdown.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from heml.segmentation.model import Segmenter, save_segmenter

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # the hub that the tests use
from mini_hub import MiniHub, mini_hub
from mini_sets import IMAGE, parquet

COMMIT = "0" * 40
ROWS_PER_FILE = 500
CLASSES = ("ground", "sky", "tree", "house", "path")
STAGES = (("download",), ("segmenter",), ("segment",), ("manifest", "anything"), ("canvases",))

WATCH = """
import os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - started, usage.ru_maxrss)
sys.exit(status != 0)
"""
"""Between this process and the stage: a forked process starts with its parent's peak, and this one holds the served
files."""


def jpegs(side: int, n: int = 256) -> list[bytes]:
    """Drawn photographs: soft colours and some grain."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(n):
        soft = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize(
            (side, side), Image.Resampling.BICUBIC
        )
        pixels = np.asarray(soft, np.int16) + rng.normal(0, 8, (side, side, 3)).astype(np.int16)
        buffer = io.BytesIO()
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
        made.append(buffer.getvalue())
    return made


def serve(hub: MiniHub, images: int, side: int) -> None:
    """The data set and the model."""
    pool, rng = jpegs(side), np.random.default_rng(1)
    files: dict[str, bytes] = {"README.md": b"---\nlicense: mit\n---\n"}
    for start in range(0, images, ROWS_PER_FILE):
        rows = range(start, min(start + ROWS_PER_FILE, images))
        # Bytes behind the end of a JPEG are ignored; they make every image another one.
        cells = [{"bytes": pool[i % len(pool)] + rng.bytes(16), "path": f"{i}.jpg"} for i in rows]
        features: dict[str, Any] = {"image": IMAGE, "kind": {"dtype": "int64", "_type": "Value"}}
        files[f"data/train-{start // ROWS_PER_FILE:05d}.parquet"] = parquet(
            {"image": cells, "kind": [i % 2 for i in rows]}, features, 100
        )
    hub.add("dataset", "bench/images", COMMIT, files)
    config = SegformerConfig(
        hidden_sizes=[8, 16, 16, 32],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 1, 1],
        decoder_hidden_size=16,
        mlp_ratios=[2, 2, 2, 2],
    )
    config.id2label = dict(enumerate(CLASSES))
    config.label2id = {name: i for i, name in enumerate(CLASSES)}
    with tempfile.TemporaryDirectory() as folder:
        save_segmenter(Segmenter(SegformerForSemanticSegmentation(config)), Path(folder))
        weights = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    hub.add("model", "bench/segformer", COMMIT, weights)


def write_project(folder: Path, side: int) -> None:
    """A parameter file and a card."""
    raw = yaml.safe_load(Path("params.yaml").read_text("utf-8"))
    size = {"height": side, "width": side}
    raw["dataset"] = {"name": "hub", "path": "card.yaml", "repo": "bench/images", "revision": COMMIT, "label": "kind"}
    raw["segmenter"] = {
        "source": "pretrained",
        "model": "bench/segformer",
        "revision": COMMIT,
        "size": size,
        "batch_size": 32,
    }
    raw["segments"] = {"anything": {"classes": list(CLASSES)}, "tree": {"classes": ["tree"]}}
    raw["canvas"] = size | {"fit": "pad"}
    raw["tree"] = {f"level_{k}": {} for k in range(8)} | {
        "level_0": {"anything": {}, "tree": {}},
        "level_1": {"root": {"left": "anything", "right": "tree"}},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False), "utf-8")
    files = [{"path": "data/train-*.parquet", "splits": ["train", "val", "test"]}]
    card = {"name": "bench", "title": "drawn images", "licence": "none", "files": files, "labels": ["kind"]}
    (folder / "card.yaml").write_text(yaml.safe_dump(card), "utf-8")


def run_stage(folder: Path, stage: tuple[str, ...], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds and peak resident memory (MiB) of one stage."""
    command = [sys.executable, "-c", WATCH, sys.executable, "-m", f"stages.{stage[0]}", *stage[1:]]
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    seconds, kilobytes = done.stdout.splitlines()[-1].split()
    return float(seconds), int(kilobytes) / 1024


def measure(images: int, side: int, work: Path) -> dict[str, tuple[float, float]]:
    """Every stage at one size."""
    with mini_hub() as hub, tempfile.TemporaryDirectory(dir=work) as temporary:
        folder = Path(temporary)
        serve(hub, images, side)
        write_project(folder, side)
        environment = os.environ | {
            "HF_ENDPOINT": hub.endpoint,
            "HF_HUB_CACHE": str(folder / "cache"),
            "PYTHONPATH": str(Path.cwd()),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        }
        found = {}
        for stage in STAGES:
            found[stage[0]] = run_stage(folder, stage, environment)
            print(
                f"{images} images, {stage[0]}: {found[stage[0]][0]:.0f} s, {found[stage[0]][1]:.0f} MiB",
                file=sys.stderr,
            )
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs=2, default=[5000, 20_000], metavar=("FEW", "MANY"))
    parser.add_argument(
        "--side", type=int, default=256, help="of images, label maps and canvases, pixels (default: 256)"
    )
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()), help="where the runs lie while they last"
    )
    arguments = parser.parse_args()
    few, many = arguments.images
    first, second = (measure(n, arguments.side, arguments.work) for n in (few, many))
    print(f"| stage | {few:,}: s | MiB | {many:,}: s | MiB | time × | memory × |")
    print("|---|---|---|---|---|---|---|")
    for stage in first:
        (s1, m1), (s2, m2) = first[stage], second[stage]
        print(f"| {stage} | {s1:.0f} | {m1:.0f} | {s2:.0f} | {m2:.0f} | {s2 / s1:.2f} | {m2 / m1:.2f} |")
    print(f"\n{many / few:g} times the images.")


if __name__ == "__main__":
    main()
