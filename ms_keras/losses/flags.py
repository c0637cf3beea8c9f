"""Flags of the loss."""

from __future__ import annotations

from absl import flags

from ms_keras.losses.multi_similarity import MultiSimilarityLoss
from ms_keras.losses.pair_loss import PairLoss

FLAGS = flags.FLAGS

flags.DEFINE_float("alpha", 2.0, "Sharpness of the loss over positive pairs.")
flags.DEFINE_float("beta", 40.0, "Sharpness of the loss over negative pairs.")
flags.DEFINE_float("lambda_", 0.5, "Cosine similarity around which pairs matter.")
flags.DEFINE_float("epsilon", 0.1, "Margin of the pair mining, in cosine similarity.")
flags.DEFINE_bool("mining", True, "Whether to mine pairs; otherwise all are weighted.")


def loss_from_flags() -> PairLoss:
    """Returns the loss that the flags describe."""
    return MultiSimilarityLoss(
        alpha=FLAGS.alpha,
        beta=FLAGS.beta,
        lambda_=FLAGS.lambda_,
        epsilon=FLAGS.epsilon,
        mining=FLAGS.mining,
    )
