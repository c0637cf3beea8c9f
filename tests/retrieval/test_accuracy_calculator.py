"""Second opinions: our scores against pytorch-metric-learning's AccuracyCalculator."""

import importlib

import numpy as np
import pytest

from ms_keras.retrieval.class_scores import per_class_recall
from ms_keras.retrieval.clustering import clustering_scores
from ms_keras.retrieval.ranking import ranking_scores
from ms_keras.retrieval.recall import best_positive_ranks

PEERS = {
    "precision_at_1": "precision_at_1",
    "r_precision": "r_precision",
    "map_at_r": "mean_average_precision_at_r",
}


@pytest.fixture(scope="module")
def peer():
    """pytorch-metric-learning, with the parts that the tests use."""
    why = "pytorch-metric-learning is an extra of the tests"
    package = pytest.importorskip("pytorch_metric_learning", reason=why)
    for part in ("distances", "utils.accuracy_calculator", "utils.inference"):
        importlib.import_module(f"{package.__name__}.{part}")
    return package


def calculated(peer, include, arguments, **parameters):
    """Returns the peer's scores; its search and clusters would need FAISS."""
    import torch

    cosine = peer.distances.CosineSimilarity()
    calculator = peer.utils.accuracy_calculator.AccuracyCalculator(
        include=include,
        knn_func=peer.utils.inference.CustomKNN(cosine),
        # Made though not called, it would need FAISS.
        kmeans_func=parameters.pop("kmeans_func", lambda rows, count: None),
        device=torch.device("cpu"),
        **parameters,
    )
    return calculator.get_accuracy(*map(torch.tensor, arguments))


def tower(seed, sizes, dim=12, noise=1.0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centres = np.random.default_rng(99).normal(size=(len(sizes), dim))
    return centres[labels] + noise * rng.normal(size=(len(labels), dim)), labels


@pytest.mark.parametrize("sizes", [[5] * 30, [1, 1, 2, 3, 90, 40, 2, 7], [30, 30]])
@pytest.mark.parametrize("seed", range(2))
def test_ranking_scores_are_those_of_the_peer(peer, seed, sizes):
    rows, labels = tower(seed, sizes)
    their = calculated(peer, tuple(PEERS.values()), (rows, labels))
    for ours, theirs in PEERS.items():
        mean = np.nanmean(ranking_scores(rows, labels)[ours])
        assert mean == pytest.approx(their[theirs], rel=1e-9)
        assert 0.1 < mean < 1


@pytest.mark.parametrize("seed", range(2))
def test_ranking_scores_in_a_gallery_are_those_of_the_peer(peer, seed):
    rows, labels = tower(seed, [4, 1, 9, 3, 20, 5])
    gallery, gallery_labels = tower(seed + 10, [7, 0, 2, 60, 8, 1])
    arguments = rows, labels, gallery, gallery_labels
    their = calculated(peer, tuple(PEERS.values()), arguments)
    for ours, theirs in PEERS.items():
        mean = np.nanmean(ranking_scores(*arguments)[ours])
        assert mean == pytest.approx(their[theirs], rel=1e-9)


def test_recall_per_class_is_the_peers_precision_at_1_per_class(peer):
    rows, labels = tower(3, [2, 5, 9, 30, 4])
    their = calculated(peer, ("precision_at_1",), (rows, labels), return_per_class=True)
    scores = per_class_recall(best_positive_ranks(rows, labels), labels)
    ours = [score.recall for score in sorted(scores, key=lambda score: score.label)]
    np.testing.assert_allclose(ours, their["precision_at_1"])


def test_nmi_and_ami_are_those_of_the_peer_for_the_same_clusters(peer):
    import torch

    rows, labels = tower(4, [5] * 20)
    found = clustering_scores(rows, labels)

    def same_clusters(given, count):
        assert count == found.num_clusters
        assert len(given) == len(rows)
        return torch.tensor(found.assignment)

    their = calculated(peer, ("NMI", "AMI"), (rows, labels), kmeans_func=same_clusters)
    assert found.nmi == pytest.approx(their["NMI"])
    assert found.ami == pytest.approx(their["AMI"])
    assert 0.2 < found.ami < found.nmi < 1
