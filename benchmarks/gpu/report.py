"""Prints what a kit measured as a table.

    python -m benchmarks.gpu.report --result=gpu.json

Shares: the two products of a loss and its gradient (4 batch^2 dim operations) in the
time measured, over what a bare product of the same precision reached there; and two
readings and one writing of the matrix of pairs over what a copy reached.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from absl import flags

from ms_keras import program

FLAGS = flags.FLAGS

flags.DEFINE_string("result", "", "File that run.py wrote.")


def table(result: Mapping[str, Any]) -> str:
    """Returns a row per batch, precision and contender."""
    dim, reached = result["kit"]["dim"], result["ceilings"]
    lines = [
        "| batch | precision | | ms | peak, MB | of the product's ceiling | of the "
        "copy's | loss |",
        "| ---: | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in result["found"]:
        head = f"| {row['batch']:,} | {row['precision']} | {row['contender']} |"
        if row.get("trouble"):
            lines.append(f"{head} {row['trouble']} | | | | |")
            continue
        pairs, seconds = row["batch"] ** 2, row["ms"] / 1000
        products = _share(4 * pairs * dim / seconds, reached.get(row["precision"]))
        copies = _share(3 * 4 * pairs / seconds, reached.get("bytes"))
        peak = "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e6:,.0f}"
        lines.append(
            f"{head} {row['ms']:.3f} | {peak} | {products} | {copies} | "
            f"{row['loss']:.5f} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Prints the table."""
    path = pathlib.Path(FLAGS.result)
    if not path.is_file():
        raise ValueError(f"--result={FLAGS.result} is no file; run.py writes one.")
    result = json.loads(path.read_text(encoding="utf-8"))
    print(f"Measured on {result['machine']['gpu'] or 'a CPU'}.\n")
    print(table(result))
    return 0


def _share(value: float, ceiling: float | None) -> str:
    return f"{value / ceiling:.0%}" if ceiling else ""


if __name__ == "__main__":
    program.run(main)
