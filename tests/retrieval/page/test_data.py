"""What the page shows, against naive loops and hand-made examples."""

import numpy as np
import pytest

from ms_keras.retrieval.class_scores import confusions as confusions_of_rows
from ms_keras.retrieval.page import pairs
from ms_keras.retrieval.page.data import collect
from ms_keras.retrieval.searcher import NOBODY


def on_circle(*degrees):
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_neighbours_and_ranks_of_a_hand_made_example(make):
    made = make(on_circle(0, 10, 15, 40), [0, 0, 1, 1], ["bee", "ant"])
    page = collect(*made[:2], "trained")
    assert page.class_names == ["ant", "bee"]  # by name
    assert page.labels.tolist() == [1, 1, 0, 0]
    assert page.neighbours[:, :3].tolist() == [
        [1, 2, 3],
        [2, 0, 3],
        [1, 0, 3],
        [2, 1, 0],
    ]
    assert (page.neighbours[:, 3:] == NOBODY).all()
    np.testing.assert_allclose(
        page.similarities[0, :3], np.cos(np.deg2rad([10, 15, 40])), rtol=1e-5
    )
    assert page.ranks.tolist() == [1, 2, 3, 1]


def test_neighbours_in_a_gallery_are_numbered_behind_the_queries(make):
    made = make(
        on_circle(0, 90),
        [0, 1],
        ["ant", "bee"],
        gallery=on_circle(80, 5, 0),
        gallery_labels=[1, 0, 0],
    )
    page = collect(*made[:2], "trained")
    assert page.neighbours[:, :3].tolist() == [[4, 3, 2], [2, 3, 4]]
    assert page.labels.tolist() == [0, 1, 1, 0, 0]
    assert page.image_names == ["a/0.jpg", "a/1.jpg", "b/0.jpg", "b/1.jpg", "b/2.jpg"]


def test_images_that_were_left_out_are_named_and_shift_the_others(make):
    made = make(
        on_circle(0, 10, 20, 30, 40), [0, 0, 1, 1, 0], ["ant", "bee"], skipped=[1]
    )
    page = collect(*made[:2], "trained")
    assert page.skipped == ["/photos/a/1.jpg"]
    assert page.image_names == ["0.jpg", "2.jpg", "3.jpg", "4.jpg"]
    assert page.labels.tolist() == [0, 1, 1, 0]


def test_classes_without_an_image_and_equal_names_keep_apart(make):
    names = ["same_name", "unused", "same_name"]
    made = make(on_circle(0, 10, 90, 95), [0, 0, 2, 2], names)
    page = collect(*made[:2], "trained")
    assert page.class_names == ["same name", "same name"]
    assert page.labels.tolist() == [0, 0, 1, 1]


def test_a_query_with_nothing_to_find_is_neither_in_recall_nor_confused(make):
    made = make(on_circle(0, 10, 90), [0, 0, 1], ["ant", "bee"])
    page = collect(*made[:2], "trained")
    assert page.ranks.tolist() == [1, 1, 0]
    assert [one.label for one in page.class_recalls] == [0]
    assert page.confusions == []


@pytest.mark.parametrize("with_gallery", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_classes_and_confusions_agree_with_naive_loops(make, seed, with_gallery):
    rng = np.random.default_rng(seed)
    rows, labels = rng.normal(size=(60, 8)), rng.integers(0, 8, 60)
    gallery = rng.normal(size=(40, 8)) if with_gallery else None
    gallery_labels = rng.integers(0, 8, 40) if with_gallery else None
    made = make(
        rows,
        labels,
        "abcdefgh",
        gallery=gallery,
        gallery_labels=gallery_labels,
    )
    page = collect(*made[:2], "trained")
    own = page.labels[:60]
    right, answerable, confused = {}, {}, {}
    for query in range(60):
        found = [page.labels[image] for image in page.neighbours[query]]
        everything = gallery_labels if with_gallery else np.delete(labels, query)
        if labels[query] not in everything:
            continue
        label = own[query]
        answerable[label] = answerable.get(label, 0) + 1
        if found[0] == label:
            right[label] = right.get(label, 0) + 1
        else:
            pair = (label, found[0])
            confused[pair] = confused.get(pair, 0) + 1
    got = {one.label: (one.recall, one.num_queries) for one in page.class_recalls}
    assert got == {
        label: (pytest.approx(right.get(label, 0) / count), count)
        for label, count in answerable.items()
    }
    pairs_found = [(one.query_class, one.found_class) for one in page.confusions]
    counts = {p: one.count for p, one in zip(pairs_found, page.confusions, strict=True)}
    assert counts == confused
    assert pairs_found == sorted(confused, key=lambda pair: (-confused[pair], pair))
    # And with the definition of the other reports, which searches on its own.
    assert page.confusions == confusions_of_rows(
        rows, own, gallery, page.labels[60:] if with_gallery else None, top=1000
    )


def naive_similarities(rows, labels, gallery=None, gallery_labels=None):
    def unit(array):
        return array / np.linalg.norm(array, axis=1, keepdims=True)

    alone = gallery is None
    references = unit(rows if alone else gallery)
    reference_labels = labels if alone else gallery_labels
    found = {True: [], False: []}
    for i, query in enumerate(unit(rows)):
        for j, reference in enumerate(references):
            if not (alone and i == j):
                same = bool(labels[i] == reference_labels[j])
                found[same].append(round(float(query @ reference), 4))
    return found


@pytest.mark.parametrize("with_gallery", [False, True])
def test_sampled_pairs_are_all_pairs_of_their_kind_equally_often(with_gallery):
    rng = np.random.default_rng(5)
    rows, labels = rng.normal(size=(9, 4)), np.array([0, 0, 0, 0, 1, 1, 2, 0, 1])
    others = (rng.normal(size=(5, 4)), np.array([1, 1, 0, 3, 1])) * with_gallery
    sampled = pairs.sample_pairs(rows, labels, *others)
    naive = naive_similarities(rows, labels, *others)
    for got, expected in ((sampled.positive, True), (sampled.negative, False)):
        values, counts = np.unique(np.round(got, 4), return_counts=True)
        wanted, times = np.unique(naive[expected], return_counts=True)
        np.testing.assert_allclose(values, wanted, atol=2e-4)
        share = times / times.sum()
        spread = 5 * np.sqrt(share / len(got))
        assert (np.abs(counts / len(got) - share) < spread).all()


def test_pairs_of_a_kind_that_does_not_exist_are_none():
    rows = np.eye(3)
    one_class = pairs.sample_pairs(rows, np.zeros(3, int))
    assert len(one_class.positive)
    assert len(one_class.negative) == 0
    all_alone = pairs.sample_pairs(rows, np.arange(3))
    assert len(all_alone.positive) == 0
    assert len(all_alone.negative)


def test_a_model_that_was_not_scored_is_refused_with_those_that_were(make):
    made = make(on_circle(0, 10), [0, 0], ["ant"])
    with pytest.raises(ValueError, match="one of those scored, trained; got 'frozen'"):
        collect(*made[:2], "frozen")


def test_scores_of_another_protocol_are_refused(make):
    rows = on_circle(0, 10)
    protocol, _, _ = make(rows, [0, 0], ["ant"])
    _, scored, _ = make(rows, [0, 0], ["ant"], gallery=rows, gallery_labels=[0, 0])
    with pytest.raises(ValueError, match="the protocol has none"):
        collect(protocol, scored, "trained")
