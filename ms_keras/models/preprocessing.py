"""What a backbone expects of pixels, as a layer inside the model."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

# Per mode: whether channels are turned to BGR, then (pixels - mean) / scale.
# The means and scales are those of the ImageNet trainings behind the weights.
_MODES: dict[str, tuple[bool, tuple[float, ...], tuple[float, ...]]] = {
    "tf": (False, (127.5,) * 3, (127.5,) * 3),
    "caffe": (True, (103.939, 116.779, 123.68), (1.0,) * 3),
    "bn_inception": (True, (104.0, 117.0, 128.0), (1.0,) * 3),
    "torch": (
        False,
        (0.485 * 255, 0.456 * 255, 0.406 * 255),
        (0.229 * 255, 0.224 * 255, 0.225 * 255),
    ),
    "none": (False, (0.0,) * 3, (1.0,) * 3),
}


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class Preprocessing(tf.keras.layers.Layer):
    """Brings RGB pixels of 0-255 to the range a backbone was trained on.

    Computed in float32 whatever the dtype policy: bfloat16 cannot tell 200 from 200.5.

    Args:
        mode: `"tf"` scales to -1..1; `"caffe"` turns to BGR and subtracts ImageNet's
            mean colour; `"bn_inception"` likewise, with the means of its own training;
            `"torch"` scales to 0..1 and standardises by ImageNet's mean and deviation;
            `"none"` leaves pixels as they are, for backbones that bring their own
            preprocessing.

    Call arguments:
        images: `[batch, height, width, 3]` RGB, 0-255.

    Raises:
        ValueError: If the mode is none of these.
    """

    def __init__(self, mode: str, **kwargs: Any) -> None:
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        if mode not in _MODES:
            raise ValueError(f"mode must be one of {sorted(_MODES)}; got {mode!r}.")
        self.mode = mode

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, height, width, 3]` float32."""
        to_bgr, mean, scale = _MODES[self.mode]
        if to_bgr:
            images = images[..., ::-1]
        return (images - tf.constant(mean)) / tf.constant(scale)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape unchanged."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments as plain JSON types."""
        return {**super().get_config(), "mode": self.mode}
