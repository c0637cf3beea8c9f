"""Flags of the loss."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from absl import flags

from ms_keras.losses.addons import ADDONS_LOSSES, AddonsLoss
from ms_keras.losses.distance_weighted import DistanceWeightedMining
from ms_keras.losses.family import LOSSES
from ms_keras.losses.mining import MultiSimilarityMining, NoMining
from ms_keras.losses.pair_loss import PairLoss
from ms_keras.losses.recipe import Mining, PairMining

FLAGS = flags.FLAGS
ADDONS = "tfa:"
MININGS: dict[str, Callable[[], Mining | PairMining]] = {
    "none": NoMining,
    "multi_similarity": MultiSimilarityMining,
    "distance_weighted": DistanceWeightedMining,
}
PARAMETERS = ("alpha", "beta", "lambda_", "margin", "scale", "bins", "selection")

flags.DEFINE_string(
    "loss",
    "multi_similarity",
    f"One of {', '.join(LOSSES)}; or, where TensorFlow Addons is installed, a baseline "
    f"of theirs: {', '.join(ADDONS + name for name in ADDONS_LOSSES)}.",
)
flags.DEFINE_enum(
    "mining",
    None,
    list(MININGS),
    "Which pairs count. Unset: multi_similarity for the loss of that name, else none.",
)
flags.DEFINE_float("epsilon", None, "Margin of multi_similarity mining. Unset: 0.1.")
flags.DEFINE_float("alpha", None, "Sharpness over positives. Unset: the loss's own.")
flags.DEFINE_float("beta", None, "Sharpness over negatives, or margin's boundary.")
flags.DEFINE_float("lambda_", None, "Cosine similarity around which pairs matter.")
flags.DEFINE_float("margin", None, "By how much pairs should lie apart.")
flags.DEFINE_float("scale", None, "Factor on the similarities of n_pairs and nca.")
flags.DEFINE_integer("bins", None, "Nodes of histogram's histograms.")
flags.DEFINE_string("selection", None, "Which triplets: all, semi_hard or hard.")


def loss_from_flags() -> PairLoss | AddonsLoss:
    """Returns the loss that the flags describe.

    Raises:
        ValueError: If there is no such loss, or it has no parameter of a given name.
    """
    given = {n: FLAGS[n].value for n in PARAMETERS if FLAGS[n].value is not None}
    if FLAGS.loss.startswith(ADDONS):
        _refuse_mining_of_addons()
        name = FLAGS.loss[len(ADDONS) :]
        return AddonsLoss(name, **_fitting(AddonsLoss, given))
    if FLAGS.loss not in LOSSES:
        raise ValueError(
            f"--loss must be one of {', '.join(LOSSES)}, or {ADDONS}NAME with one of "
            f"{', '.join(ADDONS_LOSSES)}; got {FLAGS.loss}."
        )
    loss = LOSSES[FLAGS.loss]
    mining = _mining_from_flags()
    chosen = {} if mining is None else {"mining": mining}
    return loss(**chosen, **_fitting(loss, given))


def _mining_from_flags() -> Mining | PairMining | None:
    """Returns the mining that the flags choose; `None` leaves it to the loss."""
    mined = FLAGS.mining or ("" if FLAGS.loss != "multi_similarity" else FLAGS.loss)
    if FLAGS.epsilon is not None:
        if mined != "multi_similarity":
            raise ValueError(
                f"--epsilon={FLAGS.epsilon} is read with --mining=multi_similarity; "
                f"got --mining={mined or 'none'}. Set the mining or drop --epsilon."
            )
        return MultiSimilarityMining(FLAGS.epsilon)
    return None if FLAGS.mining is None else MININGS[FLAGS.mining]()


def _refuse_mining_of_addons() -> None:
    if FLAGS.mining is not None or FLAGS.epsilon is not None:
        raise ValueError(
            f"--loss={FLAGS.loss} is a baseline that mines as its authors do; drop "
            "--mining and --epsilon, or take one of our losses."
        )


def _fitting(loss: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """Returns the given parameters, if the loss has them all."""
    takes = [n for n in inspect.signature(loss).parameters if n in PARAMETERS]
    for name in given:
        if name not in takes:
            raise ValueError(
                f"--loss={FLAGS.loss} has no parameter --{name}; its own are "
                f"{', '.join('--' + n for n in takes) or 'none'}. Drop --{name}."
            )
    return given
