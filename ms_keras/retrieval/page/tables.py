"""The page's tables: scores beside baselines and ScaNN, classes and confusions."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ms_keras.retrieval.class_scores import ClassRecall, Confusion
from ms_keras.retrieval.report import METRIC_TITLES, TITLES

_DASH = "\N{EN DASH}"
_SHOWN = 10  # classes and confusions of each kind
_BASELINES = ("frozen_features", "frozen", "pixels")


def scores_table(report: Mapping[str, Any], title: str) -> str:
    """Returns Recall@K of the model with intervals, beside whatever else was scored.

    Args:
        report: In the form of `recall.json`.
        title: What to call the model.
    """
    ks = list(report["recall"])
    intervals = report.get("intervals", {})
    rows = [_recall_row(title, report["recall"], ks, intervals.get("recall"), "ours")]
    rows += _scann_rows(report.get("scann") or {}, ks)
    for name in _BASELINES:
        recall = f"{name}_recall"
        if report.get(recall):
            row = TITLES[name], report[recall], ks, intervals.get(recall)
            rows.append(_recall_row(*row))
    header = "".join(f'<th scope="col">R@{html.escape(k)}</th>' for k in ks)
    return _table("Recall@K in percent", "Embeddings", header, rows)


def metrics_table(report: Mapping[str, Any], title: str) -> str:
    """Returns the other measures of the model, or nothing if there are none.

    Arguments are those of `scores_table`.
    """
    metrics = report.get("metrics") or {}
    if not metrics:
        return ""
    intervals = report.get("intervals", {})
    header = "".join(
        f'<th scope="col">{html.escape(METRIC_TITLES.get(name, _spaced(name)))}</th>'
        for name in metrics
    )
    cells = "".join(
        _cell(value, intervals.get(name)) for name, value in metrics.items()
    )
    row = f'<tr class="ours"><th scope="row">{html.escape(title)}</th>{cells}</tr>'
    return _table("Other measures in percent", "Embeddings", header, [row])


def scann_facts(report: Mapping[str, Any]) -> str:
    """Returns how ScaNN searched and what it took, or nothing if it did not search."""
    scann = report.get("scann")
    if not scann:
        return ""
    settings = ", ".join(f"{k} {v}" for k, v in scann["settings"].items())
    facts = {
        f"of the {max(map(int, scann['recall']))} nearest found": (
            f"{100 * scann['overlap']:.2f} %"
        ),
        "queries compared with exact search": f"{scann['num_sample']:,}",
        "index": f"{scann['build_seconds']:.1f} s",
        f"{scann['num_queries']:,} queries": f"{scann['query_seconds']:.1f} s",
        "settings": settings.replace("_", " "),
    }
    items = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>"
        for name, value in facts.items()
    )
    return f'<h3>ScaNN beside exact search</h3><dl class="facts">{items}</dl>'


def class_lists(recalls: Sequence[ClassRecall], names: Sequence[str]) -> str:
    """Returns the worst classes and the best; each filters the queries when clicked.

    Of equal ones, those with more queries come first: they tell more.

    Args:
        recalls: Recall@1 of classes, whose labels are places in `names`.
        names: A name per class.
    """
    worst = sorted(recalls, key=lambda one: (one.recall, -one.num_queries))
    best = sorted(recalls, key=lambda one: (-one.recall, -one.num_queries))
    shown = min(_SHOWN, (len(recalls) + 1) // 2)
    chosen = worst[:shown]
    others = [one for one in best if one not in chosen][:shown]
    return _list("Worst classes", "Recall@1", map(_class_item, chosen), names) + (
        _list("Best classes", "Recall@1", map(_class_item, others), names)
    )


def confusion_list(confusions: Sequence[Confusion], names: Sequence[str]) -> str:
    """Returns the most confused pairs; each filters the queries when clicked.

    Args:
        confusions: The most frequent first; their classes are places in `names`.
        names: A name per class.
    """
    items = [
        (
            (int(one.query_class), int(one.found_class)),
            one.share,
            f"{one.count} of {round(one.count / one.share)}",
        )
        for one in confusions[:_SHOWN]
    ]
    return _list("Most confused pairs", "→ what is found instead", items, names)


_Item = tuple[tuple[int, ...], float, str]


def _class_item(one: ClassRecall) -> _Item:
    return (int(one.label),), one.recall, f"{one.recall:.0%} of {one.num_queries}"


def _list(title: str, note: str, items: Iterable[_Item], names: Sequence[str]) -> str:
    entries = []
    for labels, share, told in items:
        data = f'data-label="{labels[0]}"'
        text = f"<span>{html.escape(names[labels[0]])}</span>"
        if len(labels) > 1:
            data += f' data-found="{labels[1]}"'
            text += f"<span>→ {html.escape(names[labels[1]])}</span>"
        entries.append(
            f'<li><button type="button" {data}><span class="name">{text}</span>'
            f'<span class="share">{told}</span>'
            f'<meter min="0" max="1" value="{share:.4f}" aria-hidden="true"></meter>'
            "</button></li>"
        )
    if not entries:
        return ""
    return (
        f"<section><h3>{title} <small>{note}</small></h3>"
        f'<ol class="ranking">{"".join(entries)}</ol></section>'
    )


def _table(caption: str, first: str, header: str, rows: Sequence[str]) -> str:
    return (
        f'<div class="scroll"><table><caption>{caption}</caption><thead><tr>'
        f'<th scope="col">{first}</th>{header}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _recall_row(
    title: str,
    recall: Mapping[str, float],
    ks: Sequence[str],
    intervals: Mapping[str, Sequence[float]] | None = None,
    kind: str = "",
) -> str:
    cells = "".join(_cell(recall.get(k), (intervals or {}).get(k)) for k in ks)
    class_ = f' class="{kind}"' if kind else ""
    return f'<tr{class_}><th scope="row">{html.escape(title)}</th>{cells}</tr>'


def _cell(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None:
        return f"<td>{_DASH}</td>"
    between = ""
    if interval is not None:
        low, high = interval
        between = f"<small>{100 * low:.1f} {_DASH} {100 * high:.1f}</small>"
    return f"<td>{100 * value:.2f}{between}</td>"


def _scann_rows(scann: Mapping[str, Any], ks: Sequence[str]) -> list[str]:
    """Returns ScaNN's Recall@K, and that of the sample held against exact search."""
    if not scann:
        return []
    return [
        _recall_row("ScaNN", scann["recall"], ks, scann.get("intervals")),
        _estimates_row("exact, on a sample", scann["exact"], ks),
        _estimates_row("ScaNN less exact, on it", scann["difference"], ks),
    ]


def _estimates_row(
    title: str, found: Mapping[str, Mapping[str, float]], ks: Sequence[str]
) -> str:
    values = {k: one["value"] for k, one in found.items()}
    intervals = {k: (one["low"], one["high"]) for k, one in found.items()}
    return _recall_row(title, values, ks, intervals)


def _spaced(name: str) -> str:
    return name.replace("_", " ")
