import dataclasses
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What an attack on one image has come to.

    Attributes:
        distance: float, L2 distance of `image`; infinite where nothing was found, 0 where the
            answer was wrong already.
        changed_distance: float, L2 distance at which the answer is another class, and no
            abstention.
        image: float32 array [height, width, channels]; the original where nothing was found.
        label: int, what the classifier answers there, -1 for abstention.
        clean_label: int, what it answers for the original.
        seconds: float.
        note: str, what went wrong, or ''.
    """

    distance: float
    changed_distance: float
    image: NDArray[np.float32]
    label: int
    clean_label: int
    seconds: float
    note: str = ""


@dataclasses.dataclass(frozen=True, repr=False)
class AttackResult:
    """What an attack has found: upper bounds of the distance to the nearest image of another class.

    Distances are those of the float32 `images` that are returned, computed in float64.

    Attributes:
        distances: float64 [images], L2 distances in units of pixels in [0, 1]: infinite where
            nothing was found, 0 where the answer was wrong already.
        changed_distances: float64 [images], distances at which the answer is another class. For the
            base classifier these are the same; a smoothed classifier abstains in between, and only
            these contradict a certificate.
        images: float32 [images, height, width, channels], the images that were found; the original
            where nothing was.
        labels: int64 [images], what the classifier answers for them, -1 for abstention.
        clean_labels: int64 [images], what it answers for the originals.
        notes: list of str, one for each image: what went wrong, or ''.
        method: str, the attack.
        classifier: 'base' or 'smoothed', which classifier was attacked.
        head_dtype: 'bfloat16' if its head was cast to it, or None.
        steps: int, steps of each start.
        seed: int.

    Examples:
        >>> result = lsrs_tf.attack(model, images, labels, steps=5, verbose=0)
        >>> result.column
        'attack distance (upper bound)'
        >>> result.distances.shape
        (4,)
    """

    # For tables and files: what is under it is not to be mixed with certified radii.
    column: ClassVar[str] = "attack distance (upper bound)"

    distances: NDArray[np.float64]
    changed_distances: NDArray[np.float64]
    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    clean_labels: NDArray[np.int64]
    notes: list[str]
    method: str
    classifier: str
    steps: int
    seed: int
    head_dtype: str | None = None

    @property
    def wrong_already(self) -> NDArray[np.bool_]:
        """Bool [images], whether the answer needed no attack."""
        return self.distances == 0

    def __repr__(self) -> str:
        """Returns a summary that says what it is."""
        found = np.isfinite(self.distances) & ~self.wrong_already
        median = f"{np.median(self.distances[found]):.3g}" if found.any() else "-"
        head = "" if self.head_dtype is None else f" with a {self.head_dtype} head"
        return (
            f"<AttackResult of {len(self.distances)} images, {self.classifier} classifier{head}: "
            f"upper bounds, not certificates; {self.method}, {self.steps} steps: {found.sum()} "
            f"found with a median distance of {median}, {self.wrong_already.sum()} wrong already, "
            f"{np.isinf(self.distances).sum()} not found>"
        )
