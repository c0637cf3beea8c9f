"""Scores of a protocol, and how they are told."""

import json
import os

import numpy as np
import pytest
import tensorflow as tf

from ms_keras.data.pipeline import UnreadableImages
from ms_keras.retrieval.report import table, write_json
from ms_keras.retrieval.saved_arrays import SavedArrays
from ms_keras.retrieval.scores import score_arrays, score_protocol

SIZES = {"image_size": 32, "short_side": 32}
REPORT = {
    "recall": {"1": 0.5, "2": 0.625},
    "num_queries": 8,
    "num_without_positive": 1,
    "num_gallery": 7,
    "num_skipped": 2,
    "frozen_recall": {"1": 0.25, "2": 0.375},
    "frozen_features_recall": {"1": 0.3, "2": 0.4},
    "pixels_recall": {"1": 0.125},
}


def models():
    # Colours tell the classes; noise of single pixels does not.
    return {
        "colours": lambda images: tf.reduce_mean(images, [1, 2]) - 120.0,
        "nothing": lambda images: tf.zeros([tf.shape(images)[0], 3]),
    }


def test_a_protocol_is_scored_within_itself_or_in_its_gallery(make_protocol):
    scored = score_protocol(models(), make_protocol(), **SIZES)
    assert scored.gallery is None
    assert scored.scores["colours"].recall == {1: 1.0, 2: 1.0}
    assert scored.scores["nothing"].recall == {1: 0.0, 2: 0.0}
    assert scored.scores["colours"].counts() == {
        "num_queries": 7,
        "num_without_positive": 1,  # the only image of its class
        "num_gallery": 6,
        "num_skipped": 0,
    }
    scored = score_protocol(models(), make_protocol(gallery=[3, 1, 0]), **SIZES)
    assert scored.scores["colours"].recall == {1: 1.0, 2: 1.0}
    assert scored.scores["colours"].counts() == {
        "num_queries": 7,
        "num_without_positive": 2,  # class 2 is not in the gallery
        "num_gallery": 3,
        "num_skipped": 0,
    }


def test_skipped_images_are_counted_and_take_no_others_label(make_protocol):
    protocol = make_protocol(labels=(0, 1, 1, 2, 2, 0, 0), broken=[0])
    skip = UnreadableImages(skip=True)
    scored = score_protocol(models(), protocol, unreadable=skip, **SIZES)
    assert scored.scores["colours"].recall[1] == 1.0
    assert scored.scores["colours"].counts()["num_queries"] == 6
    assert scored.scores["colours"].counts()["num_skipped"] == 1


def test_scores_of_arrays_count_what_they_searched():
    scores = score_arrays(
        SavedArrays(np.eye(3), [0, 1, 2], np.eye(3)[:2], [0, 1]), (1,)
    )
    assert scores.recall == {1: 1.0}
    assert (scores.num_gallery, scores.num_without_positive) == (2, 1)


def test_the_table_shows_every_baseline_in_percent_above_the_trained_tower():
    lines = table(REPORT).splitlines()
    assert lines[0].split() == ["R@1", "R@2"]
    assert [line.split()[-2:] for line in lines[1:5]] == [
        ["12.50", "-"],
        ["25.00", "37.50"],
        ["30.00", "40.00"],
        ["50.00", "62.50"],
    ]
    assert lines[1].startswith("raw pixels")
    assert lines[4].startswith("trained")
    assert len({len(line) for line in lines[:5]}) == 1
    for said in ("8 queries", "7 images", "1 queries without", "2 unreadable"):
        assert said in lines[5]


def test_the_table_leaves_out_baselines_that_were_not_measured():
    counts = {k: v for k, v in REPORT.items() if k.startswith("num_")}
    lines = table({"recall": {"1": 1.0}, **counts}).splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["R@1", "trained"]


def test_a_file_of_scores_survives_a_program_killed_while_writing(
    tmp_path, monkeypatch
):
    path = tmp_path / "made" / "recall.json"
    write_json(path, REPORT)
    assert json.loads(path.read_text()) == REPORT

    def killed(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_json(path, {"recall": {}})
    assert json.loads(path.read_text()) == REPORT
