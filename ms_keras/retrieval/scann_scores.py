"""Scores by approximate search alone, for quick looks on the way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ms_keras.retrieval.recall import recall_of_ranks
from ms_keras.retrieval.saved_arrays import SavedArrays
from ms_keras.retrieval.scann_report import ranks_of_found
from ms_keras.retrieval.scann_search import ScannSearcher
from ms_keras.retrieval.scores import Scores
from ms_keras.retrieval.task import as_task


def approximate_scores(
    arrays: SavedArrays, ks: Sequence[int], num_skipped: int = 0
) -> Scores:
    """Scores embeddings by ScaNN, as `score_arrays` does by exact search.

    A rank of one more than the largest K says that the best positive is not among the
    neighbours that ScaNN found. How far the scores are off, `approximate_recall` tells.

    Raises:
        ValueError: As `recall_at_k`, or if the package `scann` cannot be imported.
    """
    task = as_task(*arrays)
    everyone = np.arange(len(task.queries))
    rows, own = task.only(everyone)
    searcher = ScannSearcher(k=max(ks)).index(task.gallery)
    ranks = ranks_of_found(searcher.search(rows, max(ks) + 1, own), task, everyone)
    searched = len(task.gallery) - task.is_self
    return Scores(ranks, recall_of_ranks(ranks, ks), searched, num_skipped)
