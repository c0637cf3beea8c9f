"""Flags of training: length, optimizer, schedule, precision."""

from __future__ import annotations

import tensorflow as tf
from absl import flags

from ms_keras.training.memory_model import MemoryModel
from ms_keras.training.optimizers import build_optimizer
from ms_keras.training.schedules import build_schedule

FLAGS = flags.FLAGS

flags.DEFINE_integer("steps", 1000, "Training steps.", lower_bound=1)
flags.DEFINE_integer(
    "eval_every", 200, "Steps between two scorings of the test split.", lower_bound=1
)
flags.DEFINE_integer(
    "eval_sample",
    0,
    "While training, score on whole classes drawn at random with about this many test "
    "images; their scores are higher than those of all. 0: all. The last score is "
    "always of all.",
    lower_bound=0,
)
flags.DEFINE_enum(
    "eval_search",
    "exact",
    ["exact", "scann"],
    "How neighbours are found while training. The last score is always exact.",
)
flags.DEFINE_integer("seed", 0, "Seed of weights, batches and augmentation.")
flags.DEFINE_enum(
    "optimizer",
    "adam",
    ["adam", "adamw", "sgd"],
    "adam and sgd (momentum 0.9) see weight decay as an L2 penalty in the gradient; "
    "adamw applies it beside the update.",
)
flags.DEFINE_float("learning_rate", 3e-5, "Highest learning rate.")
flags.DEFINE_float(
    "head_rate",
    1.0,
    "Factor on the learning rate of the tower's last layer, which is new.",
)
flags.DEFINE_enum(
    "head_start",
    "random",
    ["random", "components"],
    "What the tower's last layer begins as: random numbers, or principal components of "
    "what the backbone makes of the training images.",
)
flags.DEFINE_enum(
    "schedule",
    "multistep",
    ["constant", "multistep", "cosine"],
    "How the learning rate falls.",
)
flags.DEFINE_list(
    "milestones",
    [],
    "Steps from which on multistep multiplies the rate by --decay_factor; empty: at "
    "40 % and 80 % of --steps.",
)
flags.DEFINE_float("decay_factor", 0.1, "Factor on the rate at each milestone.")
flags.DEFINE_integer(
    "warmup_steps", 0, "Steps of linear warm-up of the learning rate.", lower_bound=0
)
flags.DEFINE_float("weight_decay", 5e-4, "Strength of weight decay.", lower_bound=0)
flags.DEFINE_bool(
    "decay_vectors",
    False,
    "Whether biases and the scales and shifts of normalisation decay too.",
)
flags.DEFINE_integer(
    "memory_size",
    0,
    "Embeddings of earlier batches that each batch is compared with too. 0: none.",
    lower_bound=0,
)
flags.DEFINE_integer(
    "memory_warmup",
    0,
    "Steps until the memory takes part; embeddings change fast at first.",
    lower_bound=0,
)
flags.DEFINE_enum(
    "dtype_policy",
    "float32",
    ["float32", "mixed_float16", "mixed_bfloat16"],
    "Precision of the tower's layers. Embeddings and loss are float32 in any case.",
)


def optimizer_from_flags(tower: tf.keras.Model) -> tf.keras.optimizers.Optimizer:
    """Returns the optimizer with the schedule that the flags describe.

    Raises:
        ValueError: If the flags do not fit together, or are out of range.
    """
    return build_optimizer(
        FLAGS.optimizer,
        build_schedule(
            FLAGS.schedule,
            FLAGS.learning_rate,
            FLAGS.steps,
            warmup_steps=FLAGS.warmup_steps,
            milestones=_milestones(),
            decay_factor=FLAGS.decay_factor,
        ),
        tower,
        weight_decay=FLAGS.weight_decay,
        decay_vectors=FLAGS.decay_vectors,
        head_rate=FLAGS.head_rate,
    )


def learner_from_flags(tower: tf.keras.Model) -> tf.keras.Model:
    """Returns what trains a tower: itself, or a model with the flags' memory.

    Raises:
        ValueError: If a memory is to warm up that is not there.
    """
    if FLAGS.memory_size:
        return MemoryModel(tower, FLAGS.memory_size, FLAGS.memory_warmup)
    if FLAGS.memory_warmup:
        raise ValueError(
            f"--memory_warmup={FLAGS.memory_warmup} goes with a --memory_size above 0."
        )
    return tower


def _milestones() -> list[int]:
    try:
        return [int(step) for step in FLAGS.milestones]
    except ValueError:
        raise ValueError(
            f"--milestones must be whole numbers, like 1200,2400; got "
            f"{','.join(FLAGS.milestones)}."
        ) from None
