"""What a served tower may be asked for beyond its embeddings as trained."""

from __future__ import annotations

import dataclasses

from ms_keras.data.image_header import MAX_PIXELS

OUTPUTS = ("float32", "int8")


@dataclasses.dataclass(frozen=True)
class ServingOptions:
    """How a tower is served.

    Attributes:
        dim: Entries of an embedding that are kept, the first ones, scaled to norm 1
            again. A tower that was not trained for it loses recall by it; measure how
            much. Defaults to `0`: all.
        output: `"float32"`, or `"int8"`: 127 times the entries, rounded, a quarter of
            the bytes. Inner products of such rows, divided by 127 squared, are cosine
            similarities with a rounding error of 0.003 (standard deviation). Defaults
            to `"float32"`.
        max_batch: Most images of a request. More are refused before anything is
            decoded. Defaults to `1024`.
        max_pixels: Most pixels that an encoded image may declare, width times height.
            Defaults to 50 million.

    Raises:
        ValueError: If a value is out of range.
    """

    dim: int = 0
    output: str = "float32"
    max_batch: int = 1024
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        if self.output not in OUTPUTS:
            raise ValueError(f"output must be one of {OUTPUTS}; got {self.output!r}.")
        for name, least in (("dim", 0), ("max_batch", 1), ("max_pixels", 1)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"{name} must be {least} or more; got {getattr(self, name)}."
                )
