"""P x K batches: P distinct classes with K images each."""

from __future__ import annotations

import collections
import functools
from collections.abc import Iterator

import numpy as np


class PKSampler:
    """Draws batches of P classes with K images of each, as a pure function of the step.

    Training goes in passes. In a pass every class is shuffled and cut into groups of K;
    the last group is topped up with other images of its class. A group's place in the
    pass is random but spreads a class evenly over it; a batch takes the next P groups
    of distinct classes. So every image is seen in every pass, and one is seen twice in
    a pass only

    - to top up its class's last group (a class with fewer than K images repeats them
      inside the group), or
    - to complete the pass's last batches, when groups of fewer than P classes are left.

    All passes have the same number of batches, and each follows from the seed and its
    number alone: any step can be jumped to, which is what resuming a run takes.

    Args:
        labels: `[n]` class ids.
        classes_per_batch: P.
        images_per_class: K, 2 at least: a loss on pairs needs positives.
        seed: Seed of all draws, 0 or more. Defaults to `0`.

    Attributes:
        batch_size: P x K.
        batches_per_pass: Batches until every image was seen.

    Raises:
        ValueError: If there are no labels, fewer than P classes, or P or K is below 2,
            or the seed is below 0.
    """

    def __init__(
        self,
        labels: np.ndarray,
        classes_per_batch: int,
        images_per_class: int,
        seed: int = 0,
    ) -> None:
        labels = np.asarray(labels)
        _check(labels, classes_per_batch, images_per_class, seed)
        self._classes_per_batch = classes_per_batch
        self._images_per_class = images_per_class
        self._seed = seed
        order = np.argsort(labels, kind="stable")
        _, starts = np.unique(labels[order], return_index=True)
        self._members = np.split(order.astype(np.int64), starts[1:])
        groups = [-(-len(members) // images_per_class) for members in self._members]
        # Each batch takes at most one group of a class, so the largest class bounds the
        # pass from below as the number of groups does.
        self.batches_per_pass = max(-(-sum(groups) // classes_per_batch), max(groups))
        self._groups = np.array(groups)
        self._pass = functools.lru_cache(maxsize=2)(self._draw_pass)

    @property
    def batch_size(self) -> int:
        """Images in a batch."""
        return self._classes_per_batch * self._images_per_class

    def batch(self, step: int) -> np.ndarray:
        """Returns the `[P * K]` int64 image indices of a step, grouped by class."""
        number, place = divmod(step, self.batches_per_pass)
        return self._pass(number)[place]

    def _draw_pass(self, number: int) -> np.ndarray:
        """Returns a pass's batches: `[batches_per_pass, P * K]`."""
        rng = np.random.default_rng([self._seed, number])
        batches = self._draw_classes(rng)
        groups = [self._endless_groups(members, rng) for members in self._members]
        return np.stack(
            [np.concatenate([next(groups[c]) for c in batch]) for batch in batches]
        )

    def _draw_classes(self, rng: np.random.Generator) -> list[list[int]]:
        """Returns the classes of each batch of a pass, P distinct ones each.

        All of a class's groups find a place, because a class that has as many groups
        left as there are batches left is put into every one of these.
        """
        waiting = collections.deque(self._classes_in_order(rng))
        left_of = self._groups.copy()
        batches = []
        for batches_left in range(self.batches_per_pass, 0, -1):
            batch = dict.fromkeys(np.flatnonzero(left_of == batches_left).tolist())
            postponed = []
            while waiting and len(batch) < self._classes_per_batch:
                candidate = waiting.popleft()
                if left_of[candidate] == batches_left:
                    continue  # is in this batch, and in every later one, anyway
                if candidate in batch:
                    postponed.append(candidate)
                else:
                    batch[candidate] = None
            waiting.extendleft(reversed(postponed))
            left_of[list(batch)] -= 1
            batches.append(self._completed(list(batch), rng))
        return batches

    def _classes_in_order(self, rng: np.random.Generator) -> list[int]:
        """Returns each class once per group, spread evenly at random over the pass."""
        classes: np.ndarray = np.repeat(np.arange(len(self._groups)), self._groups)
        firsts = np.cumsum(self._groups) - self._groups
        ordinals = np.arange(len(classes)) - firsts[classes]
        times = (ordinals + rng.random(len(classes))) / self._groups[classes]
        return classes[np.argsort(times)].tolist()

    def _completed(self, batch: list[int], rng: np.random.Generator) -> list[int]:
        """Returns the batch with other classes added at random up to P."""
        missing = self._classes_per_batch - len(batch)
        if missing:
            others = np.setdiff1d(np.arange(len(self._groups)), batch)
            batch = batch + rng.choice(others, missing, replace=False).tolist()
        return batch

    def _endless_groups(
        self, members: np.ndarray, rng: np.random.Generator
    ) -> Iterator[np.ndarray]:
        """Yields groups of K: all members once, the last group topped up, and again."""
        size = self._images_per_class
        while True:
            shuffled = rng.permutation(members)
            whole = len(members) // size * size
            yield from shuffled[:whole].reshape(-1, size)
            rest = shuffled[whole:]
            if len(members) < size:
                yield np.resize(rest, size)
            elif len(rest):
                others = rng.choice(shuffled[:whole], size - len(rest), replace=False)
                yield np.concatenate([rest, others])


def _check(
    labels: np.ndarray, classes_per_batch: int, images_per_class: int, seed: int
) -> None:
    if labels.ndim != 1 or not len(labels):
        raise ValueError(f"labels must be a non-empty [n] array; got {labels.shape}.")
    if classes_per_batch < 2:
        raise ValueError(
            f"classes_per_batch must be 2 or more, for negatives; got "
            f"{classes_per_batch}."
        )
    if images_per_class < 2:
        raise ValueError(
            f"images_per_class must be 2 or more, for positives; got "
            f"{images_per_class}."
        )
    if seed < 0:
        raise ValueError(f"seed must be 0 or more; got {seed}.")
    classes = len(np.unique(labels))
    if classes_per_batch > classes:
        raise ValueError(
            f"classes_per_batch={classes_per_batch} is more than the {classes} classes "
            "to train on. Lower --classes_per_batch."
        )
