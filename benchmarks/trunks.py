"""Where a trunk should end: images/s of a training step, weights and memory layout at the sizes that nodes have.

    python -m benchmarks.trunks              # about a minute on one core

Forward and backward of a batch of 32 on one thread, the variants in turn in one run, medians; channels first and
channels last in memory. The ratio is to the first trunk, channels first, at the same size. What it does to accuracy:
`python -m benchmarks.tables
--variants` with `trunk` (docs/results/index.md).
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch

from heml.learning.trunks import new_trunk

TRUNKS = (
    "resnet18",
    "resnet18:3",
    "resnet18:2",
    "resnet18:1",
    "mobilenet_v3_small",
    "mobilenet_v3_small:3",
    "efficientnet_lite0:3",
)
SIZES = ((16, 24), (32, 32), (64, 64))
BATCH = 32


def rate(trunk: torch.nn.Module, size: tuple[int, int], layout: torch.memory_format) -> float:
    """Images per CPU second of three training steps, after one that warms up."""
    trunk = trunk.to(memory_format=layout).train()
    x = torch.randn(BATCH, 3, *size)
    began = 0.0
    for step in range(4):
        if step == 1:
            began = time.process_time()
        trunk.zero_grad(set_to_none=True)
        trunk(x).mean().backward()
    return 3 * BATCH / (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    trunks = {name: new_trunk(name) for name in TRUNKS}
    layouts = (torch.contiguous_format, torch.channels_last)
    taken: dict[tuple[str, tuple[int, int], int], list[float]] = {}
    for _ in range(rounds):
        for size in SIZES:
            for name, trunk in trunks.items():
                for k, layout in enumerate(layouts):
                    taken.setdefault((name, size, k), []).append(rate(trunk, size, layout))
    found = {key: median(values) for key, values in taken.items()}
    print(
        f"images/s, one thread, torch {torch.__version__}, median of {rounds}: channels first, channels last (ratio)\n"
    )
    print("| trunk | weights, M | " + " | ".join(f"{h}×{w}" for h, w in SIZES) + " |\n|" + "---|" * (2 + len(SIZES)))
    for name, trunk in trunks.items():
        millions = sum(p.numel() for p in trunk.parameters()) / 1e6
        cells = []
        for size in SIZES:
            first, last = found[name, size, 0], found[name, size, 1]
            cells.append(f"{first:.0f}, {last:.0f} ({last / found[TRUNKS[0], size, 0]:.1f})")
        print(f"| `{name}` | {millions:.2f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
