"""The paper's formulas as loops over pairs in float64, as slow and plain as can be."""

import numpy as np


def multi_similarity(
    labels, rows, reference_labels=None, references=None, *, alpha=2.0, beta=40.0,
    lambda_=0.5, epsilon=0.1, mining=True,
):  # fmt: skip
    """Returns per-anchor losses and signed pair weights of unit-norm rows."""
    rows = np.asarray(rows, np.float64)
    alone = references is None
    references = rows if alone else np.asarray(references, np.float64)
    reference_labels = labels if alone else reference_labels
    losses = np.zeros(len(rows))
    weights = np.zeros((len(rows), len(references)))
    for i, row in enumerate(rows):
        similarity = [float(row @ reference) for reference in references]
        others = [j for j in range(len(references)) if not (alone and j == i)]
        positives = [j for j in others if reference_labels[j] == labels[i]]
        negatives = [j for j in others if reference_labels[j] != labels[i]]
        if mining:
            least = min((similarity[j] for j in positives), default=np.inf)
            most = max((similarity[j] for j in negatives), default=-np.inf)
            positives = [j for j in positives if similarity[j] < most + epsilon]
            negatives = [j for j in negatives if similarity[j] > least - epsilon]
        pulls = {j: np.exp(-alpha * (similarity[j] - lambda_)) for j in positives}
        pushes = {j: np.exp(beta * (similarity[j] - lambda_)) for j in negatives}
        losses[i] += np.log(1 + sum(pulls.values())) / alpha
        losses[i] += np.log(1 + sum(pushes.values())) / beta
        for j, pull in pulls.items():
            weights[i, j] = -pull / (1 + sum(pulls.values()))
        for j, push in pushes.items():
            weights[i, j] = push / (1 + sum(pushes.values()))
    return losses, weights


def unit_rows(rng, rows, dim):
    values = rng.normal(size=(rows, dim))
    return values / np.linalg.norm(values, axis=1, keepdims=True)
