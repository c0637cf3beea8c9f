"""Puts the tables of measured results into the pages that show them.

    python -m benchmarks.rebuild

A page marks the place of a table by two comments, `<!-- table: NAME -->` and
`<!-- end -->`; between them comes what the benchmark makes of `results/NAME.json`, and
what machine that tells. NAME begins with the benchmark's own name: `exits_tf2.15` is
one of `benchmarks.exits`. Where there is no such result yet, what stands there stays.
"""

from __future__ import annotations

import importlib.util
import pathlib
import re
import subprocess
import sys

from ms_keras import program

_ROOT = pathlib.Path(__file__).parents[1]
_PAGES = ("benchmarks/RESULTS.md", "docs/serving.md")
_BLOCK = re.compile(r"(<!-- table: ([\w.-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
# Where tables are made, if not in the benchmark's one file.
_MODULES = {
    **{name: f"benchmarks.{name}.report" for name in ("loss", "recall", "gpu")},
    "other_losses": "benchmarks.loss.report",
    **dict.fromkeys(("tuning", "small_machines"), "benchmarks.runs"),
}
# In a process of its own: two benchmarks may have a flag of the same name.
_CODE = """
import importlib, json, sys
from benchmarks.machine import told
module = importlib.import_module(sys.argv[1])
result = json.load(open(sys.argv[2]))
print(module.table(result))
if "machine" in result:
    print("", told(result["machine"]), sep="\\n")
"""


def table_of(name: str) -> str:
    """Returns the table of a result, and what machine it tells.

    Raises:
        ValueError: If the benchmark makes no table of it.
    """
    path, module = _result(name), _module(name)
    finished = subprocess.run(
        [sys.executable, "-c", _CODE, module, str(path)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        last = (finished.stderr.strip().splitlines() or ["it failed"])[-1]
        raise ValueError(f"{module} makes no table of {path}: {last}")
    return finished.stdout.strip()


def rebuilt(page: str) -> str:
    """Returns a page's text with its tables made anew, as far as there are results.

    Raises:
        ValueError: If a mark names no benchmark, or one that makes no table.
    """

    def block(found: re.Match[str]) -> str:
        begin, name, end = found.groups()
        if not _result(name).is_file():
            if importlib.util.find_spec(_module(name)) is None:
                raise ValueError(
                    f"A page asks for the table of {name!r}, which is no benchmark: "
                    f"there is no {_module(name)}."
                )
            print(f"{_result(name)} is missing: its table stays.", file=sys.stderr)
            return found.group()
        return f"{begin}\n{table_of(name)}\n\n{end}"

    return _BLOCK.sub(block, page)


def main() -> None:
    """Rewrites the pages, all of them or none."""
    texts = {
        _ROOT / page: rebuilt((_ROOT / page).read_text(encoding="utf-8"))
        for page in _PAGES
    }
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(_ROOT))


def _result(name: str) -> pathlib.Path:
    return _ROOT / "benchmarks" / "results" / f"{name}.json"


def _module(name: str) -> str:
    benchmark = name.split("_tf")[0]
    return _MODULES.get(benchmark, f"benchmarks.{benchmark}")


if __name__ == "__main__":
    program.run(main)
