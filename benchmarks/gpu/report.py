"""Prints what a kit measured as a table.

    python -m benchmarks.gpu.report --result=gpu.json

Shares: the two products of a loss and its gradient (4 batch^2 dim operations) in the
time measured, over what a bare product of the same precision reached there; and two
readings and one writing of the matrix of pairs over what a copy reached. The precision
is that of the products: ours computes with float32 rows whatever it is given, so that
its rows of bfloat16 have products of float32, rounded as TF32 where the GPU does so.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from absl import flags

from benchmarks.gpu.run import PRECISIONS
from benchmarks.machine import told
from ms_keras import program

FLAGS = flags.FLAGS

flags.DEFINE_string("result", "", "File that run.py wrote.")


def table(result: Mapping[str, Any]) -> str:
    """Returns a row per batch, precision and contender, and what failed besides."""
    dim, reached = result["kit"]["dim"], result["ceilings"]
    lines = [
        "| batch | precision | | ms | peak, MB | of the product's ceiling | of the "
        "copy's | loss |",
        "| ---: | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in sorted(result["found"], key=_place):
        products = row.get("products", row["precision"])
        kind = row["precision"]
        if products != kind:
            kind = f"{kind} rows, {products} products"
        head = f"| {row['batch']:,} | {kind} | {row['contender']} |"
        if row.get("trouble"):
            lines.append(f"{head} {row['trouble']} | | | | |")
            continue
        pairs, seconds = row["batch"] ** 2, row["ms"] / 1000
        multiplied = _share(4 * pairs * dim / seconds, reached.get(products))
        copies = _share(3 * 4 * pairs / seconds, reached.get("bytes"))
        peak = "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e6:,.0f}"
        lines.append(
            f"{head} {row['ms']:.3f} | {peak} | {multiplied} | {copies} | "
            f"{row['loss']:.5f} |"
        )
    if reached.get("trouble"):
        lines += ["", f"The ceilings were not measured: {reached['trouble']}"]
    return "\n".join(lines)


def _place(row: Mapping[str, Any]) -> tuple[int, int]:
    """Returns what rows are ordered by; those of a size and precision as they came."""
    return row["batch"], PRECISIONS.index(row["precision"])


def main() -> int:
    """Prints the table."""
    path = pathlib.Path(FLAGS.result)
    if not path.is_file():
        raise ValueError(f"--result={FLAGS.result} is no file; run.py writes one.")
    result = json.loads(path.read_text(encoding="utf-8"))
    print(table(result))
    print(f"\n{told(result['machine'])}")
    return 0


def _share(value: float, ceiling: float | None) -> str:
    return f"{value / ceiling:.0%}" if ceiling else ""


if __name__ == "__main__":
    program.run(main)
