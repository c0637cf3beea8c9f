"""Filling the page's template: all of it but the thumbnails."""

from __future__ import annotations

import base64
import datetime
import hashlib
import html
import importlib.resources
import json
import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ms_keras.retrieval.page.data import PageData
from ms_keras.retrieval.page.figures import recall_curve, similarity_histograms
from ms_keras.retrieval.page.tables import (
    class_lists,
    confusion_list,
    metrics_table,
    scann_facts,
    scores_table,
)
from ms_keras.retrieval.report import TITLES
from ms_keras.retrieval.scores import Scored

CHUNK = 32  # thumbnails that are parsed together: 0.1 MB
IN_FOLDER = 1000  # thumbnails in a folder, where they are files
_SIMILARITY_UNIT = 1e-4  # similarities are whole numbers of it: half as much text
_NAMED = 50  # images left out that are told by name


def markup(
    page: PageData,
    scored: Scored,
    report: Mapping[str, Any],
    model: str,
    folder: str,
) -> tuple[str, str]:
    """Returns the page's text before the thumbnails and after them.

    Args:
        page: What to show.
        scored: The scores, for the curves of all models.
        report: The scores in the form of `recall.json`.
        model: Which of the scored models is shown.
        folder: Where thumbnails are files; empty if they are inside the page.
    """
    title = TITLES.get(model, model)
    now = datetime.datetime.now(datetime.timezone.utc)
    style, script = _packaged("page.css"), _packaged("page.js")
    curves = {TITLES.get(name, name): one.ranks for name, one in scored.scores.items()}
    intervals = "with 95 % intervals" if report.get("intervals") else ""
    filling = {
        "protocol": html.escape(str(report.get("protocol", ""))),
        "model": html.escape(title),
        "counts": _counts(report),
        "date": f"{now.day} {now:%B %Y, %H:%M} UTC",
        "skipped": _skipped(page.skipped),
        "intervals": intervals,
        "scores": scores_table(report, title),
        "metrics": metrics_table(report, title),
        "scann": scann_facts(report),
        "curve": recall_curve(curves, list(scored.scores[model].recall), title),
        "histograms": similarity_histograms(page.pairs),
        "num_pairs": f"{max(map(len, page.pairs)):,}",
        "classes": class_lists(page.class_recalls, page.class_names),
        "confusions": confusion_list(page.confusions, page.class_names),
        "data": _for_script(page, folder),
        "style": style,
        "script": script,
        "style_hash": _hash(style),
        "script_hash": _hash(script),
    }
    before, after = _packaged("page.html").split("$thumbnails")
    return (
        string.Template(before).substitute(filling),
        string.Template(after).substitute(filling),
    )


def _packaged(name: str) -> str:
    file = importlib.resources.files("ms_keras.retrieval.page") / name
    return file.read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Returns what a content security policy calls an inline element."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _counts(report: Mapping[str, Any]) -> str:
    parts = []
    if "num_queries" in report:
        parts.append(f"{report['num_queries']:,} queries")
    if "num_gallery" in report:
        parts.append(f"each searched in {report['num_gallery']:,} images")
    if report.get("num_without_positive"):
        parts.append(
            f"{report['num_without_positive']:,} queries with nothing to find left out"
        )
    if report.get("num_skipped"):
        parts.append(f"{report['num_skipped']:,} unreadable images left out")
    return ", ".join(parts)


def _skipped(names: Sequence[str]) -> str:
    if not names:
        return ""
    items = "".join(f"<li>{html.escape(name)}</li>" for name in names[:_NAMED])
    if len(names) > _NAMED:
        items += f"<li>and {len(names) - _NAMED:,} more</li>"
    return (
        f"<details><summary>Images that cannot be read ({len(names):,})</summary>"
        f"<ul>{items}</ul></details>"
    )


def _for_script(page: PageData, folder: str) -> str:
    """Returns what the page's script shows, as JSON that no name can end."""
    similarities = np.where(np.isfinite(page.similarities), page.similarities, 0)
    content = {
        "folder": folder,
        "inFolder": IN_FOLDER,
        "chunk": CHUNK,
        "similarityUnit": _SIMILARITY_UNIT,
        "classes": page.class_names,
        "labels": page.labels.tolist(),
        "names": page.image_names,
        "ranks": page.ranks.tolist(),
        "neighbours": page.neighbours.tolist(),
        "similarities": (similarities / _SIMILARITY_UNIT).round().astype(int).tolist(),
    }
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
