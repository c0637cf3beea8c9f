"""The computed table of similarities, where algebra says what must come out."""

import pytest

from ms_keras.analysis.similarity_table import (
    Shares,
    reaction_shares,
    similarity_table,
    table_rows,
    table_text,
)
from ms_keras.losses import LOSSES

# A negative's weight contains: binomial and contrastive S_ij alone; the lifted losses a
# softmax over negatives; triplet the differences to positives; N-pairs and NCA those to
# both; MS S_ij and the other negatives, and its mining the least similar positive.
OF_NEGATIVES = {
    "binomial_deviance": "S",
    "contrastive": "S",
    "margin": "S",
    "lifted_structure": "N",
    "lifted_star": "N",
    "triplet": "P",
    "n_pairs": "NP",
    "nca": "NP",
    "bin_lifted": "SN",
    "multi_similarity": "SNP",
}
OF_POSITIVES = {
    "binomial_deviance": "S",
    "contrastive": "",
    "lifted_star": "P",
    "triplet": "N",
    "multi_similarity": "SNP",
}


@pytest.mark.parametrize("name", OF_NEGATIVES)
def test_the_weight_of_a_negative_pair_reacts_to_what_its_formula_has(name):
    assert reaction_shares(LOSSES[name](), "negative").ticks == OF_NEGATIVES[name]


@pytest.mark.parametrize("name", OF_POSITIVES)
def test_the_weight_of_a_positive_pair_reacts_to_what_its_formula_has(name):
    assert reaction_shares(LOSSES[name](), "positive").ticks == OF_POSITIVES[name]


def test_a_loss_without_mining_does_not_look_at_positives():
    loss = LOSSES["multi_similarity"](mining=False)
    assert reaction_shares(loss, "negative").ticks == "SN"


def test_shares_tell_a_habit_from_an_exception():
    shares = reaction_shares(LOSSES["contrastive"](), "negative")
    assert 0.1 < shares.S < 0.9  # only where the threshold is crossed
    assert shares.N == shares.P == 0


def test_the_table_tells_where_the_paper_says_something_else():
    table = {
        ("n_pairs", "negative"): Shares(0, 0.98, 0.9),
        ("histogram", "negative"): Shares(0.5, 0, 0),
        ("margin", "negative"): Shares(0.25, 0, 0),
        ("n_pairs", "positive"): Shares(0, 1, 0),
    }
    lines = table_text(table).splitlines()
    assert lines[1].split() == ["S", "N", "P", "paper"]
    assert lines[2].split() == [
        "n_pairs",
        "-",
        "98",
        "90",
        "N",
        "computed",
        "also",
        "P",
    ]
    assert lines[3].split()[-4:] == ["also", "S,", "not", "P"]
    assert lines[4].split()[:4] == ["margin", "25", "-", "-"]
    assert lines[4].endswith("not in the table")
    assert lines[-1].split() == ["n_pairs", "-", "100", "-"]
    rows = table_rows(table)
    assert ("n_pairs", "negative", "N", 0.98, 1, 1, "agrees") in rows
    assert ("n_pairs", "negative", "P", 0.9, 1, 0, "differs") in rows
    assert ("histogram", "negative", "P", 0, 0, 1, "differs") in rows
    assert ("margin", "negative", "S", 0.25, 1, "", "") in rows


def test_the_table_has_all_losses_for_both_kinds_of_pairs():
    chosen = {name: LOSSES[name]() for name in ("triplet", "contrastive")}
    table = similarity_table(chosen)
    assert list(table) == [(n, p) for p in ("negative", "positive") for n in chosen]
