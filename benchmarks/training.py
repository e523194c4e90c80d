"""A node's training and the segment manifest against their named peers, side by side in one run.

    python -m benchmarks.training            # about 3 minutes on two cores

(a) images/s of training a node, against pytorch-metric-learning's own `MetricLossOnly` trainer over a `DataLoader` that
    opens, masks and transforms every image with Pillow, each time it is asked for;
(b) the same against the bare forward/backward/step loop on tensors that are already in memory;
(c) seconds from the start of a process to its first batch;
(d) bytes and read time of the manifest against one masked PNG per image and segment.

Each pair is measured in turn, several times; the ratio of the medians is printed. Images are avatars of 256×256, the
node's canvas is 64×64, the trunk ResNet-18, the loss SNR with semi-hard triplets, the batch 32.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from pytorch_metric_learning import samplers, trainers
from torchvision import transforms

from heml.datasets.avatars import avatars
from heml.images.canvas import write_canvases
from heml.images.imagenet import MEAN, STD
from heml.images.shards import read_description, read_rows, write_images
from heml.learning.inputs import NodeImages, compose, prepare
from heml.learning.networks import new_network
from heml.learning.objectives import objective
from heml.learning.training import train_node
from heml.params import AvatarsDataset, Canvas, Segment, Size, Train
from heml.run import Run
from heml.segmentation.segment import segment_images, write_mask_segmenter
from heml.segments.manifest import read_manifest, write_manifest

CPU = torch.device("cpu")
CANVAS = Canvas(height=64, width=64)
NODES = {
    "leaf (eyes)": ["eyes"],
    "root (all 8)": ["skin", "clothes", "mouth", "eyes", "brows", "hair", "facial_hair", "glasses"],
}


class PillowImages(torch.utils.data.Dataset):
    """The usual way: open the image and its mask, blacken the rest, resize, flip, normalise; per item."""

    def __init__(self, root: Path, names: list[str], labels: np.ndarray, ids: list[int]) -> None:
        self.root, self.names, self.labels, self.ids = root, names, labels, ids
        self.transform = transforms.Compose(
            [
                transforms.Resize((64, 64)),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        image = np.asarray(Image.open(self.root / f"{self.names[i]}.jpg").convert("RGB"))
        mask = np.isin(np.asarray(Image.open(self.root / f"{self.names[i]}.png")), self.ids)
        return self.transform(Image.fromarray(image * mask[..., None])), int(self.labels[i])


def make_data(root: Path, count: int) -> None:
    """The data set as files, and everything that the pipeline makes of it up to training."""
    params = AvatarsDataset(name="avatars", path=Path("data/avatars.yaml"), images=count, size=256)
    records, description = avatars(params)
    run = Run(root)
    write_images(run.images, records, description)
    (root / "files").mkdir()
    for row in read_rows(run.images, ["image_id", "image", "mask"]):
        (root / "files" / f"{row['image_id']}.jpg").write_bytes(row["image"]["bytes"])
        (root / "files" / f"{row['image_id']}.png").write_bytes(row["mask"]["bytes"])
    write_canvases(CANVAS, run)
    write_mask_segmenter(run.segmenter, description.classes)
    segment_images(Size(height=256, width=256), 32, run)
    for name in NODES["root (all 8)"]:
        write_manifest(name, Segment(classes=[name]), CANVAS, run)


def ours(images: NodeImages, settings: Train) -> float:
    """Images/s of a node's training as the pipeline does it (validation not counted)."""
    network = new_network(settings, 2, images.size)
    return train_node("benchmark", network, images, settings, CPU).images_per_second


def bare(images: NodeImages, settings: Train) -> float:
    """Images/s of forward, backward and step alone, on prepared tensors of the same size."""
    network, aim = new_network(settings, 2, images.size), objective(settings, 2)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
    rows = images.rows("train")
    x, y = prepare(*images.batch(rows)), torch.from_numpy(images.labels[rows])
    network.train()
    began, seen = time.perf_counter(), 0
    for _ in range(settings.epochs):
        for start in range(0, len(rows) - settings.batch_size + 1, settings.batch_size):
            loss, _ = aim(network(x[start : start + settings.batch_size]), y[start : start + settings.batch_size])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            seen += settings.batch_size
    return seen / (time.perf_counter() - began)


def peer(root: Path, images: NodeImages, leaves: list[str], settings: Train, workers: int) -> float:
    """Images/s of pytorch-metric-learning's trainer over Pillow."""
    logging.getLogger("PML").setLevel(logging.ERROR)
    rows = images.rows("train")
    names, labels = [images.image_ids[i] for i in rows], images.labels[rows]
    classes = read_description(Run(root).images).classes
    data = PillowImages(root / "files", names, labels, [classes[leaf] for leaf in leaves])
    network, aim = new_network(settings, 2, images.size), objective(settings, 2)
    seen = len(rows) // settings.batch_size * settings.batch_size
    trainer = trainers.MetricLossOnly(
        models={"trunk": network, "embedder": torch.nn.Identity()},
        optimizers={"trunk_optimizer": torch.optim.AdamW(network.parameters(), lr=settings.lr, fused=True)},
        batch_size=settings.batch_size,
        loss_funcs={"metric_loss": aim.loss},
        mining_funcs={"tuple_miner": aim.miner},
        dataset=data,
        sampler=samplers.MPerClassSampler(labels, 16, settings.batch_size, seen),
        dataloader_num_workers=workers,
        iterations_per_epoch=seen // settings.batch_size,
        data_device="cpu",
    )
    trainer.step_accumulator = 0
    began = time.perf_counter()
    with open(os.devnull, "w") as silence:  # noqa: PTH123 (its progress bar has no switch)
        stderr, sys.stderr = sys.stderr, silence
        try:
            trainer.train(num_epochs=settings.epochs)
        finally:
            sys.stderr = stderr
    return seen * settings.epochs / (time.perf_counter() - began)


def in_turn(rounds: int, *measures: Callable[[], float]) -> list[float]:
    """Medians of measures taken in turn, so that a slow minute of the machine meets all alike."""
    taken = [[measure() for measure in measures] for _ in range(rounds)]
    return [median(column) for column in zip(*taken, strict=True)]


def first_batch(root: Path) -> float:
    """Seconds from starting Python to the first prepared batch and a network to give it to."""
    code = (
        "import sys, time, numpy as np\n"
        "from heml.learning.inputs import compose, prepare\n"
        "from heml.learning.networks import new_network\n"
        "import heml.learning.training\n"
        "from heml.params import Train\n"
        "from heml.run import Run\n"
        "images = compose(['eyes'], Run(sys.argv[1]))\n"
        "network = new_network(Train(), 2, images.size)\n"
        "prepare(*images.batch(np.arange(32)))\n"
        "print(time.time())"
    )
    began = time.time()
    done = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True)
    return float(done.stdout) - began


def manifest(root: Path) -> tuple[int, int, float, float]:
    """(bytes, PNG bytes, read seconds, PNG read seconds) of all masks of all segments."""
    leaves = NODES["root (all 8)"]
    images = compose(leaves, Run(root))
    files: list[Path] = []
    for leaf in leaves:
        part = read_manifest(Run(root).segments, leaf)
        (root / "png" / leaf).mkdir(parents=True, exist_ok=True)
        for i in np.flatnonzero(part.present):
            mask = part.mask(i)
            files.append(root / "png" / leaf / f"{part.image_ids[i]}.png")
            Image.fromarray(images.pixels[i] * mask[..., None].astype(np.uint8)).save(files[-1])

    def ours() -> float:
        began = time.perf_counter()
        for leaf in leaves:
            part = read_manifest(Run(root).segments, leaf)
            np.unpackbits(part.packed, axis=1)
        return time.perf_counter() - began

    def theirs() -> float:
        began = time.perf_counter()
        for path in files:
            np.asarray(Image.open(path)).any(-1)
        return time.perf_counter() - began

    size = sum(path.stat().st_size for path in Run(root).segments.rglob("*.parquet"))
    return size, sum(path.stat().st_size for path in files), *in_turn(5, ours, theirs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    settings = Train(epochs=2, batch_size=32, per_class=16)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_data(root, arguments.images)
        torch.set_num_threads(os.cpu_count() or 1)
        print(
            f"{arguments.images} images, {torch.get_num_threads()} threads, torch {torch.__version__}, median of"
            f" {arguments.rounds}\n"
        )
        print(
            f"{'images/s':16}{'ours':>8}{'bare':>8}{'ours/bare':>11}"
            f"{'PML+Pillow':>12}{'ratio':>7}{'2 workers':>11}{'ratio':>7}"
        )
        for name, leaves in NODES.items():
            images = compose(leaves, Run(root))
            a, b, c, d = in_turn(
                arguments.rounds,
                lambda images=images: ours(images, settings),
                lambda images=images: bare(images, settings),
                lambda images=images, leaves=leaves: peer(root, images, leaves, settings, 0),
                lambda images=images, leaves=leaves: peer(root, images, leaves, settings, 2),
            )
            print(f"{name:16}{a:8.0f}{b:8.0f}{a / b:11.2f}{c:12.0f}{a / c:7.2f}{d:11.0f}{a / d:7.2f}")
        start = median(first_batch(root) for _ in range(arguments.rounds))
        print(f"\nprocess start to first batch: {start:.1f} s")
        size, png, read, png_read = manifest(root)
        print(f"manifest: {size:,} bytes, masked PNGs {png:,} bytes: {size / png:.3f} of them")
        print(
            f"reading all masks: {read * 1e3:.0f} ms, from PNGs {png_read * 1e3:.0f} ms: {png_read / read:.1f} times"
            " faster"
        )


if __name__ == "__main__":
    main()
