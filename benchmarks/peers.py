"""The report's comparison with other methods as Markdown: what each reaches, and what it costs.

dvc repro                                # with `baselines` named in params.yaml (docs/peers.md)
python -m benchmarks.peers [reports/plots/peers.csv]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd


def tables(peers: pd.DataFrame) -> str:
    """Two tables, a row per method: scores with the 95 % interval of P@1, then costs."""
    scores, costs = [], []
    for row in peers.to_dict("records"):
        shown = ("p@1", "p@1_low", "p@1_high", "p@2", "p@8", "r_precision", "map@r")
        percent = {key: "–" if pd.isna(row[key]) else f"{100 * row[key]:.1f}" for key in shown}
        scores.append(
            {
                "": row["name"],
                "P@1": f"**{percent['p@1']}**",
                "95 %": f"{percent['p@1_low']}–{percent['p@1_high']}",
                "P@2": percent["p@2"],
                "P@8": percent["p@8"],
                "R-precision": percent["r_precision"],
                "MAP@R": percent["map@r"],
            }
        )
        costs.append(
            {
                "": row["name"],
                "training, s": f"{row['train_seconds']:.0f}",
                "to the best epoch, s": f"{row['best_seconds']:.0f}",
                "trains, images/s": f"{row['train_images_per_second']:.0f}",
                "embeds, images/s": f"{row['images_per_second']:.0f}",
                "peak memory, MB": f"{row['peak_bytes'] / 1e6:,.0f}",
                "weights, MB": f"{row['bytes'] / 1e6:.0f}",
                "explanation, ms": f"{1000 * row['explanation_seconds']:.0f}",
            }
        )
    first = peers.iloc[0]
    floor = f"Floors: majority {100 * first['majority']:.1f}, chance {100 * first['chance']:.1f}; {first['queries']:.0f} test images."
    return f"{_markdown(scores)}\n\n{floor}\n\n{_markdown(costs)}"


def _markdown(rows: list[dict[str, str]]) -> str:
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", type=Path, default=Path("reports/plots/peers.csv"))
    print(tables(pd.read_csv(parser.parse_args().table)))


if __name__ == "__main__":
    main()
