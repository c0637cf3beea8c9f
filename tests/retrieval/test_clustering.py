"""NMI and AMI against their definitions, and clusters of towers that are known."""

import itertools
import math

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score

from ms_keras.retrieval import clustering
from ms_keras.retrieval.clustering import agreement, clustering_scores


def entropy(ids):
    shares = [ids.count(value) / len(ids) for value in set(ids)]
    return -sum(share * math.log(share) for share in shares)


def mutual_information(labels, clusters):
    labels, clusters = list(labels), list(clusters)
    joint = list(zip(labels, clusters, strict=True))
    return entropy(labels) + entropy(clusters) - entropy(joint)


def noisy_classes(seed=0, noise=0.3):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(15), 12))
    return np.eye(15)[labels] + noise * rng.normal(size=(180, 15)), labels


def test_nmi_is_mutual_information_over_the_mean_entropy():
    rng = np.random.default_rng(0)
    labels, clusters = rng.integers(0, 5, 80), rng.integers(0, 7, 80)
    clusters[:40] = labels[:40]
    mean = (entropy(list(labels)) + entropy(list(clusters))) / 2
    expected = mutual_information(labels, clusters) / mean
    assert agreement(labels, clusters).nmi == pytest.approx(expected)


def test_ami_is_mutual_information_less_that_of_chance():
    labels, clusters = [0, 0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 1, 2, 0]
    orders = itertools.permutations(clusters)
    chance = np.mean([mutual_information(labels, order) for order in orders])
    mean = (entropy(labels) + entropy(clusters)) / 2
    expected = (mutual_information(labels, clusters) - chance) / (mean - chance)
    assert agreement(labels, clusters).ami == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("classes", "clusters"), [(2, 2), (5, 30), (90, 90), (99, 1), (3, 100)]
)
def test_agreement_is_that_of_scikit_learn(classes, clusters, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, 100)
    assignment = rng.integers(0, clusters, 100) if clusters < 100 else np.arange(100)
    assignment[:60] = labels[:60] % clusters
    found = agreement([f"class {i}" for i in labels], assignment)
    expected = (
        normalized_mutual_info_score(labels, assignment),
        adjusted_mutual_info_score(labels, assignment),
    )
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("careful", [1 << 22, 0])
def test_noisy_classes_are_found_in_part_and_scores_are_those_of_the_clusters(
    careful, monkeypatch
):
    monkeypatch.setattr(clustering, "_CAREFUL", careful)
    rows, labels = noisy_classes()
    found = clustering_scores(rows, labels)
    assert found.num_clusters == 15
    assert found.assignment.shape == (180,)
    assert (found.nmi, found.ami) == agreement(labels, found.assignment)
    assert 0.3 < found.ami < found.nmi < 0.99


def test_a_perfect_tower_is_clustered_into_its_classes():
    labels = np.repeat(["a", "b", "c", "d"], [2, 9, 4, 5])
    rows = np.repeat(np.eye(4), [2, 9, 4, 5], axis=0)
    found = clustering_scores(rows, labels)
    assert (found.nmi, found.ami) == (pytest.approx(1), pytest.approx(1))


@pytest.mark.filterwarnings("error")
def test_a_collapsed_tower_is_one_cluster_and_scores_nothing():
    labels = np.repeat(np.arange(10), 5)
    for rows in (np.ones((50, 8)), np.zeros((50, 8))):
        found = clustering_scores(rows, labels)
        assert len(set(found.assignment.tolist())) == 1
        assert (found.nmi, found.ami) == (pytest.approx(0), pytest.approx(0))


def test_noise_has_no_ami_though_it_has_nmi():
    labels = np.repeat(np.arange(50), 4)
    found = clustering_scores(np.random.default_rng(0).normal(size=(200, 16)), labels)
    assert abs(found.ami) < 0.1
    assert found.nmi > 0.4


@pytest.mark.parametrize("labels", [[0] * 6, range(6), ["a"] * 6])
def test_where_there_is_nothing_to_find_there_is_no_score(labels):
    rows = np.random.default_rng(1).normal(size=(6, 3))
    found = clustering_scores(rows, list(labels))
    assert np.isnan([found.nmi, found.ami]).all()
    assert found.num_clusters == len(set(labels))


def test_the_seed_decides():
    rows, labels = noisy_classes(noise=1.0)
    first, again, other = (clustering_scores(rows, labels, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.assignment, again.assignment)
    assert (first.assignment != other.assignment).any()


def test_lengths_of_rows_and_names_of_classes_do_not_matter():
    rows, labels = noisy_classes()
    lengths = 2.0 ** np.random.default_rng(2).integers(-9, 9, (180, 1))
    found = clustering_scores(rows, labels)
    scaled = clustering_scores(rows * lengths, np.array([f"{i:02}" for i in labels]))
    np.testing.assert_array_equal(found.assignment, scaled.assignment)
    assert (found.nmi, found.ami) == (scaled.nmi, scaled.ami)


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        (np.zeros((0, 3)), [], "non-empty"),
        (np.ones((3, 2)), [0, 1], "2 labels"),
        ([[1.0, np.nan]], [0], "must be finite"),
        (np.ones((2, 2)), [0.5, 1.5], "integer class ids"),
    ],
)
def test_bad_input_is_refused(rows, labels, message):
    with pytest.raises(ValueError, match=message):
        clustering_scores(rows, labels)


@pytest.mark.parametrize(("labels", "clusters"), [([], []), ([0, 1], [0])])
def test_agreement_wants_one_cluster_per_label(labels, clusters):
    labels, clusters = np.array(labels, int), np.array(clusters, int)
    with pytest.raises(ValueError, match="as many, 1 or more"):
        agreement(labels, clusters)
