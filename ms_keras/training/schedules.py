"""Learning rates over the steps of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import tensorflow as tf

schedules = tf.keras.optimizers.schedules
LearningRateSchedule: TypeAlias = tf.keras.optimizers.schedules.LearningRateSchedule


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class WarmUp(LearningRateSchedule):
    """Raises the learning rate linearly over the first steps of another schedule.

    Args:
        schedule: The schedule to follow; its own steps count from 0 as well.
        warmup_steps: Steps until the full rate; step 0 has a `warmup_steps`-th of it.
    """

    def __init__(self, schedule: LearningRateSchedule, warmup_steps: int) -> None:
        self.schedule = schedule
        self.warmup_steps = warmup_steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the learning rate of a step: scalar float32."""
        share = (tf.cast(step, tf.float32) + 1.0) / float(self.warmup_steps)
        return self.schedule(step) * tf.minimum(share, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments as plain JSON types."""
        return {
            "schedule": schedules.serialize(self.schedule),
            "warmup_steps": self.warmup_steps,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WarmUp:
        """Rebuilds the schedule from `get_config`."""
        return cls(schedules.deserialize(config["schedule"]), config["warmup_steps"])


def build_schedule(
    name: str,
    learning_rate: float,
    steps: int,
    *,
    warmup_steps: int = 0,
    milestones: Sequence[int] = (),
    decay_factor: float = 0.1,
) -> LearningRateSchedule:
    """Returns a learning-rate schedule.

    Args:
        name: `"constant"`, `"multistep"` or `"cosine"` (to 0 at the last step).
        learning_rate: The highest rate.
        steps: Length of the run.
        warmup_steps: Steps of linear warm-up. Defaults to `0`.
        milestones: Steps of `"multistep"` from which on the rate is multiplied by
            `decay_factor`. Defaults to 40 % and 80 % of the run, the paper's CUB
            recipe.
        decay_factor: Factor at each milestone. Defaults to `0.1`.

    Raises:
        ValueError: If the name is unknown, the rate or a number of steps makes no
            sense, or milestones do not rise.
    """
    if not learning_rate > 0:
        raise ValueError(f"learning_rate must be above 0; got {learning_rate}.")
    if not 0 <= warmup_steps <= steps:
        raise ValueError(
            f"warmup_steps must lie between 0 and steps={steps}; got {warmup_steps}."
        )
    if name == "constant":
        schedule = schedules.PiecewiseConstantDecay([steps], [learning_rate] * 2)
    elif name == "multistep":
        milestones = list(milestones) or [round(0.4 * steps), round(0.8 * steps)]
        if sorted(set(milestones)) != milestones or milestones[0] < 1:
            raise ValueError(f"milestones must be rising steps; got {milestones}.")
        rates = [learning_rate * decay_factor**i for i in range(len(milestones) + 1)]
        # Keras keeps the old rate at the boundary itself, milestones begin the new.
        schedule = schedules.PiecewiseConstantDecay([m - 1 for m in milestones], rates)
    elif name == "cosine":
        schedule = schedules.CosineDecay(learning_rate, steps)
    else:
        raise ValueError(
            f"schedule must be 'constant', 'multistep' or 'cosine'; got {name!r}."
        )
    return WarmUp(schedule, warmup_steps) if warmup_steps else schedule
