import itertools
import math
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from lsrs_tf.attacks.goal import Goal
from lsrs_tf.attacks.line_search import MORE_STARTS, distance_of
from lsrs_tf.attacks.result import Outcome
from lsrs_tf.attacks.search import Attack
from lsrs_tf.attacks.vectors import boxed, normalized
from lsrs_tf.sampling import random_streams
from lsrs_tf.statistics.confidence import checked_count

# Number of the first sample of the stream that starts come from, far behind those of the draws.
_STARTS = 2**40


class Attacker:
    """Attacks images of one classifier, some of them together.

    Args:
        attacked: `AttackedBase` or `AttackedSmoothed`.
        attack: `Attack`.
        targeted: bool, whether goals have targets.
        restarts: int, starts of the search, the first at the image and the others near it at
            random; the nearest image that is found counts.
        seed: int, seed of starts and draws.
        batch_size: int, images in one search, or None for the classifier's own.

    Attributes:
        attacked, attack: the arguments.
    """

    def __init__(
        self,
        attacked: Any,
        attack: Attack,
        *,
        targeted: bool = False,
        restarts: int = 1,
        seed: int = 0,
        batch_size: int | None = None,
    ) -> None:
        self.attacked, self.attack = attacked, attack
        self._targeted, self._seed = targeted, seed
        self._restarts = checked_count(restarts, "restarts")
        size = attacked.batch_size if batch_size is None else batch_size
        self._batch_size = checked_count(size, "batch_size")
        self._searches = {}

    def outcomes(
        self, entries: Iterable[tuple[NDArray[np.float32], Goal, float]]
    ) -> Iterator[Outcome]:
        """Yields the `Outcome` of each (checked image, goal, radius), in their order.

        Args:
            entries: the radius is infinite for attacks that take none.
        """
        entries = iter(entries)
        while batch := list(itertools.islice(entries, self._batch_size)):
            yield from self._outcomes(batch)

    def _outcomes(self, batch: list[tuple[NDArray[np.float32], Goal, float]]) -> list[Outcome]:
        states = [_State(self.attacked, *entry) for entry in batch]
        start = 0
        while waiting := [state for state in states if self._goes_on(state, start)]:
            begin = time.perf_counter()
            found = self._found(waiting, start)
            seconds = (time.perf_counter() - begin) / len(waiting)
            for row, state in enumerate(waiting):
                state.add(seconds, *(part[row] for part in found))
            start += 1
        return [state.outcome() for state in states]

    def _goes_on(self, state: "_State", start: int) -> bool:
        if state.done:
            return False
        if start < self._restarts:
            return True
        return not state.has_found and state.broken and start < self._restarts + MORE_STARTS

    def _found(self, states: list["_State"], start: int) -> list[NDArray]:
        """Returns the parts of `Found` of a search for several images, as arrays."""
        images = tf.constant(np.stack([state.image for state in states]), tf.float64)
        radii = tf.constant([state.radius for state in states], tf.float64)
        again = start >= self._restarts
        found = self._search(self.attacked.scores_of(images, again))(
            images,
            tf.constant([state.goal.wanted for state in states], tf.int64),
            self._starts(images, states, radii, start),
            # The float32 image that is found may be a little further than that of float64.
            radii * (1 - 1e-6),
            self.attacked.draws([state.image for state in states], start),
        )
        return [part.numpy() for part in found]

    def _search(self, scores):
        """Returns the compiled search of a function of scores."""
        if scores not in self._searches:
            self._searches[scores] = self.attack.compiled(scores, self._targeted)
        return self._searches[scores]

    def _starts(self, images, states: list["_State"], radii, start: int):
        if start == 0:
            return images
        directions = [
            random_streams.standard_normal(
                random_streams.stream(self._seed, tf.constant(state.image), random_streams.ATTACK),
                _STARTS + start,
                1,
                state.image.shape,
            )
            for state in states
        ]
        directions = normalized(tf.cast(tf.concat(directions, axis=0), tf.float64))
        lengths = tf.minimum(radii, self.attack.start_norm)
        return boxed(images + lengths[:, None, None, None] * directions)


class _State:
    """One image while it is attacked."""

    def __init__(self, attacked, image: NDArray[np.float32], goal: Goal, radius: float) -> None:
        begin = time.perf_counter()
        self.image, self.goal, self.radius = image, goal, radius
        self.broken = False
        self._attacked = attacked
        self._clean_label = attacked.answer(image)
        self._distance = 0.0 if goal.reached(self._clean_label) else math.inf
        self._changed_distance = 0.0 if goal.changed(self._clean_label) else math.inf
        self._nearest = image
        self._seconds = time.perf_counter() - begin

    @property
    def done(self) -> bool:
        """Whether there is nothing left to look for."""
        return self._changed_distance == 0

    @property
    def has_found(self) -> bool:
        """Whether an image has been found."""
        return math.isfinite(self._distance)

    def add(self, seconds, nearest, norm, lowest_image, lowest, finite) -> None:
        """Takes a row of `Found`, and checks what it says with the classifier's own answers."""
        begin = time.perf_counter()
        self.broken |= not bool(finite)
        if math.isfinite(norm):
            self._check(nearest)
        elif math.isfinite(lowest):
            # Answers and scores are not quite the same; it may be that little is missing.
            self._check(lowest_image)
        self._seconds += seconds + time.perf_counter() - begin

    def _check(self, candidate) -> None:
        candidate = candidate.astype(np.float32)
        if np.array_equal(candidate, self.image):
            return
        reached, changed = self._attacked.nearest(self.image, candidate, self.goal, self.radius)
        if changed is not None:
            self._changed_distance = min(self._changed_distance, distance_of(self.image, changed))
        if reached is not None and distance_of(self.image, reached) < self._distance:
            self._distance, self._nearest = distance_of(self.image, reached), reached

    def outcome(self) -> Outcome:
        """Returns what it has come to."""
        note = ""
        if self.broken and not self.has_found:
            note = "scores or gradients are not finite at every start: given up"
        moved = self._nearest is not self.image
        return Outcome(
            distance=self._distance,
            changed_distance=self._changed_distance,
            image=self._nearest,
            label=self._attacked.answer(self._nearest) if moved else self._clean_label,
            clean_label=self._clean_label,
            seconds=self._seconds,
            note=note,
        )
