"""From flags to a loss: every loss, its own parameters, and no others."""

import pytest
from absl import flags

from ms_keras.losses import (
    LOSSES,
    DistanceWeightedMining,
    HardestTripletWeighting,
    MultiSimilarityMining,
    NoMining,
)
from ms_keras.losses.flags import loss_from_flags


def loss_of(*arguments):
    values = flags.FLAGS
    values.unparse_flags()
    for flag in values.flags_by_module_dict()["ms_keras.losses.flags"]:
        flag.unparse()
    values(["test", *arguments])
    return loss_from_flags()


@pytest.fixture(autouse=True)
def _leave_the_flags_as_they_were():
    saved = {name: flags.FLAGS[name].value for name in flags.FLAGS}
    yield
    for name, value in saved.items():
        flags.FLAGS[name].value = value


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_by_its_name_has_its_own_defaults(name):
    assert loss_of(f"--loss={name}").recipe == LOSSES[name]().recipe


def test_without_flags_it_is_the_multi_similarity_loss():
    assert loss_of().recipe == LOSSES["multi_similarity"]().recipe


def test_parameters_go_to_the_loss():
    recipe = loss_of("--loss=triplet", "--margin=0.3", "--selection=hard").recipe
    assert recipe.weighting == HardestTripletWeighting(0.3)
    recipe = loss_of("--alpha=3", "--beta=50", "--lambda_=1", "--epsilon=0.2").recipe
    assert recipe.weighting.get_config() == {"alpha": 3, "beta": 50, "lambda_": 1}
    assert recipe.mining == MultiSimilarityMining(0.2)


@pytest.mark.parametrize(
    ("mining", "part"),
    [
        ("none", NoMining()),
        ("multi_similarity", MultiSimilarityMining(0.1)),
        ("distance_weighted", DistanceWeightedMining()),
    ],
)
@pytest.mark.parametrize("name", ["multi_similarity", "binomial_deviance", "margin"])
def test_any_mining_goes_with_any_loss(name, mining, part):
    recipe = loss_of(f"--loss={name}", f"--mining={mining}").recipe
    assert recipe.mining == part
    assert recipe.weighting == LOSSES[name]().recipe.weighting


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--loss=ms"], "multi_similarity, or tfa:NAME"),
        (["--loss=contrastive", "--alpha=2"], "no parameter --alpha.*--lambda_"),
        (["--loss=triplet", "--selection=easy"], "semi_hard"),
        (["--loss=contrastive", "--epsilon=0.2"], "--mining=multi_similarity"),
        (["--mining=none", "--epsilon=0.2"], "--epsilon=0.2"),
        (["--loss=tfa:lifted", "--mining=none"], "drop --mining"),
        (["--loss=tfa:ms"], "triplet_semihard|tensorflow-addons"),
        (["--beta=-1"], "beta must be above 0"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        loss_of(*arguments)
