"""Which losses are analysed."""

import pytest
from absl import flags
from absl.testing import flagsaver

from ms_keras.analysis.chosen_losses import named_losses, own_loss
from ms_keras.losses import LOSSES, MultiSimilarityLoss


@pytest.fixture
def parsed():
    """Parses flags and takes them back."""
    with flagsaver.flagsaver():
        yield lambda *arguments: flags.FLAGS(["analyze", *arguments])


def test_losses_are_named_with_their_defaults():
    chosen = named_losses(["margin", "multi_similarity"])
    assert [type(loss) for loss in chosen.values()] == [
        LOSSES["margin"], MultiSimilarityLoss
    ]  # fmt: skip
    default = MultiSimilarityLoss().get_config()
    assert chosen["multi_similarity"].get_config() == default


def test_the_flags_describe_a_loss(parsed):
    parsed("--alpha=3")
    ((name, loss),) = own_loss({}).items()
    assert name == "multi_similarity"
    assert loss.get_config()["alpha"] == 3


def test_a_loss_without_pair_weights_is_left_out(parsed):
    parsed("--loss=tfa:npairs")
    assert own_loss(named_losses(["triplet"])) == {}
    with pytest.raises(ValueError, match=r"npairs tells no pair weights.*--losses"):
        own_loss({})
