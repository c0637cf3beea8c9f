"""Each loss of the family, restated for one anchor as plainly as can be.

`P` and `N` are lists of similarities: the anchor's positives and its negatives. `m` is
a module with exp, log, maximum and sqrt: numpy for values, tf.math for autodiff.
"""

import numpy as np


def contrastive(P, N, m=np, lambda_=0.5):
    return sum(1 - p for p in P) + sum(m.maximum(n - lambda_, 0.0) for n in N)


def triplet(P, N, m=np, margin=0.1):
    return sum(m.maximum(n - p + margin, 0.0) for p in P for n in N)


def triplet_semi_hard(P, N, m=np, margin=0.1):
    loss = 0.0
    for p in P:
        if N:
            below = [n for n in N if n < p]
            n = max(below) if below else min(N)
            loss += m.maximum(n - p + margin, 0.0)
    return loss


def triplet_hard(P, N, m=np, margin=0.1):
    if not P or not N:
        return 0.0
    return m.maximum(max(N) - min(P) + margin, 0.0)


def lifted_structure(P, N, m=np, margin=1.0):
    if not P or not N:
        return 0.0
    first = m.log(sum(m.exp(margin - p) for p in P))
    return m.maximum(first + m.log(sum(m.exp(n) for n in N)), 0.0)


def lifted_star(P, N, m=np, alpha=2.0, beta=40.0):
    if not P or not N:
        return 0.0
    first = m.log(sum(m.exp(-alpha * p) for p in P)) / alpha
    return first + m.log(sum(m.exp(beta * n) for n in N)) / beta


def n_pairs(P, N, m=np, scale=20.0):
    if not P or not N:
        return 0.0
    return sum(m.log(1 + sum(m.exp(scale * (n - p)) for n in N)) for p in P) / len(P)


def nca(P, N, m=np, scale=20.0):
    if not P or not N:
        return 0.0
    right = sum(m.exp(scale * p) for p in P)
    return -m.log(right / (right + sum(m.exp(scale * n) for n in N)))


def binomial_deviance(P, N, m=np, alpha=2.0, beta=50.0, lambda_=0.5, scaled=False):
    loss = 0.0
    if P:
        mean = sum(m.log(1 + m.exp(alpha * (lambda_ - p))) for p in P) / len(P)
        loss += mean / (alpha if scaled else 1)
    if N:
        mean = sum(m.log(1 + m.exp(beta * (n - lambda_))) for n in N) / len(N)
        loss += mean / (beta if scaled else 1)
    return loss


def binomial_scaled(P, N, m=np):
    return binomial_deviance(P, N, m, scaled=True)


def bin_lifted(P, N, m=np, alpha=2.0, beta=50.0):
    binomial = binomial_deviance(P, N, m, alpha, beta, scaled=True)
    return (binomial + lifted_star(P, N, m, alpha, beta)) / 2


def margin(P, N, m=np, margin=0.2, beta=1.2):
    distance = [m.sqrt(m.maximum(2 - 2 * s, 0.0) + 1e-6) for s in [*P, *N]]
    near, far = distance[: len(P)], distance[len(P) :]
    loss = sum(m.maximum(d - beta + margin, 0.0) for d in near)
    return loss + sum(m.maximum(beta + margin - d, 0.0) for d in far)


def multi_similarity(P, N, m=np, alpha=2.0, beta=40.0, lambda_=0.5):
    loss = 0.0
    if P:
        loss += m.log(1 + sum(m.exp(-alpha * (p - lambda_)) for p in P)) / alpha
    if N:
        loss += m.log(1 + sum(m.exp(beta * (n - lambda_)) for n in N)) / beta
    return loss


def mined(formula, epsilon=0.1):
    """Wraps a formula in the paper's mining, Eq. 11 and 12."""

    def of_the_kept(P, N, m=np):
        least, most = min(P, default=np.inf), max(N, default=-np.inf)
        kept = [p for p in P if p < most + epsilon]
        return formula(kept, [n for n in N if n > least - epsilon], m)

    return of_the_kept


def histogram(S, positive, negative, bins=151):
    """The histogram loss of a whole batch, from a matrix of similarities and masks."""
    nodes = np.linspace(-1, 1, bins)
    step = nodes[1] - nodes[0]

    def density(values):
        heights = [sum(max(0, 1 - abs(v - t) / step) for v in values) for t in nodes]
        return np.array(heights) / len(values)

    if not positive.any() or not negative.any():
        return 0.0
    below, above = density(S[positive]), density(S[negative])
    return sum(above[r] * below[: r + 1].sum() for r in range(bins))
