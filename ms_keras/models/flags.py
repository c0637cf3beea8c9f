"""Command-line flags that describe a tower, and the tower they describe."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from absl import flags

from ms_keras.models.freeze_flag import FreezeFlag
from ms_keras.models.tower import POOLINGS, build_tower

# The paper's code resizes to 256 and crops 227.
MARGIN = 256 / 227
# How images are scored; the other flags say which tower is built.
SCORING_FLAGS = ("image_size", "short_side")


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags of this room.

    Args:
        flag_values: Where: absl's global `flags.FLAGS` (importing this file does that)
            or flags of their own, to read those of a finished run.
    """
    flags.DEFINE_string(
        "backbone",
        "mobilenet_v2",
        "A network of tf.keras.applications in snake_case, MobileNets with their width "
        "as suffix (mobilenet_v2_0.35); bn_inception, the paper's; resnet50_torch, "
        "torchvision's; or small_conv for small drawings. A last suffix _os16 makes "
        "the last maps finer, a cell per 16 pixels (resnet50_os16).",
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "embedding_dim",
        512,
        "Length of an embedding.",
        lower_bound=1,
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "image_size",
        224,
        "Height and width of the images the tower sees, in pixels.",
        lower_bound=1,
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "short_side",
        0,
        "The short side of an image is resized to this many pixels before it is "
        "cropped: in the middle to image_size for scoring, at random for training. 0 "
        "takes image_size * 256 / 227, rounded.",
        lower_bound=0,
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "weights",
        "imagenet",
        "imagenet, none, or a file: a backbone's .h5, a converted one's .weights.h5, "
        "or a tower's .weights.h5 or .keras.",
        flag_values=flag_values,
    )
    flags.DEFINE_enum(
        "pooling",
        "avg",
        [*POOLINGS, "avg+max"],
        "How feature maps become one row: their mean, maximum, or the sum of both.",
        flag_values=flag_values,
    )
    freeze = FreezeFlag(
        "freeze_batch_norm",
        "What of batch norm stays as it came with the weights: its running statistics, "
        "while gamma and beta train; all of it; or none, for random weights.",
    )
    flags.DEFINE_flag(freeze, flag_values)
    flags.DEFINE_string(
        "freeze_until",
        "",
        "A layer of the backbone; it and all layers below it do not train, which saves "
        "much of a step's time. Empty: all layers train.",
        flag_values=flag_values,
    )


define_flags(flags.FLAGS)


def tower_from_flags(
    flag_values: flags.FlagValues = flags.FLAGS, **overrides: Any
) -> tf.keras.Model:
    """Builds the tower that the flags describe.

    Args:
        flag_values: Parsed flags. Defaults to absl's global ones.
        **overrides: Arguments of `build_tower` that win over the flags.

    Raises:
        ValueError: As `build_tower`.
    """
    arguments = {
        "backbone": flag_values.backbone,
        "embedding_dim": flag_values.embedding_dim,
        "image_size": flag_values.image_size,
        "weights": flag_values.weights,
        "pooling": flag_values.pooling,
        "freeze_batch_norm": flag_values.freeze_batch_norm,
        "freeze_until": flag_values.freeze_until,
    }
    return build_tower(**{**arguments, **overrides})


def short_side_from_flags(flag_values: flags.FlagValues = flags.FLAGS) -> int:
    """Returns the short side of images before they are cropped, in pixels.

    Args:
        flag_values: Parsed flags. Defaults to absl's global ones.

    Raises:
        ValueError: If it is smaller than the crop.
    """
    image_size, short_side = flag_values.image_size, flag_values.short_side
    if short_side == 0:
        return round(image_size * MARGIN)
    if short_side < image_size:
        raise ValueError(
            f"--short_side must be 0 or at least --image_size; got {short_side} and "
            f"{image_size}. Raise --short_side, or leave it at 0."
        )
    return short_side
