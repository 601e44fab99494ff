"""The settings of certificates, checked once where they enter."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal, TypeAlias, TypedDict, TypeGuard, get_args

import numpy as np
from numpy.typing import NDArray

from lsrs_tf.number_kinds import is_real_number, is_whole_number
from lsrs_tf.sampling.cast_head import check_goes_with, checked_head_dtype
from lsrs_tf.sampling.noise import noise_model
from lsrs_tf.statistics import confidence
from lsrs_tf.statistics.radius_scale import Against

Method: TypeAlias = Literal["fixed", "sequential", "margin"]
NoiseName: TypeAlias = Literal["float32", "exact", "logits"]
HeadDtype: TypeAlias = Literal["bfloat16"]
# One radius, or several.
TargetRadii: TypeAlias = float | Sequence[float] | NDArray[np.floating]

METHODS: tuple[Method, ...] = get_args(Method)
AGAINST: tuple[Against, ...] = get_args(Against)


class SettingsArguments(TypedDict, total=False):
    """The arguments of `Settings`, for editors and type checkers; a test holds them equal."""

    method: Method
    target_radii: TargetRadii | None
    tolerance: float | None
    n0: int
    n: int
    alpha: float
    against: Against
    seed: int
    noise: NoiseName
    head_dtype: HeadDtype | None
    images_per_draw: int
    batch_size: int


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Settings:
    """How certificates are made; the arguments of `lsrs_tf.certify` with the same names.

    Attributes:
        method: 'fixed', 'sequential' or 'margin'. Margins take no samples: none of the settings
            below has a meaning for them.
        target_radii: ascending tuple of floats, or None. Any sequence, or one number, is accepted.
        tolerance: float, or None.
        n0: int, noisy samples that select the class.
        n: int, noisy samples that estimate its probability, at most if the method is sequential.
        alpha: float in (0, 1), probability that one certificate is wrong.
        against: 'half' or 'runner_up'.
        seed: int, seed of the noise.
        noise: 'float32', 'exact' or 'logits'.
        head_dtype: 'bfloat16', what the head is cast to, or None.
        images_per_draw: int, images that share their noise.
        batch_size: int, noisy samples in one pass of the head.

    Raises:
        ValueError: if a setting is impossible, does not go with another one, or could never certify
            anything.

    Examples:
        >>> Settings(method="sequential", target_radii=[0.5, 0.25]).target_radii
        (0.25, 0.5)
    """

    method: Method = "fixed"
    target_radii: tuple[float, ...] | None = None
    tolerance: float | None = None
    n0: int = 100
    n: int = 100_000
    alpha: float = 0.001
    against: Against = "half"
    seed: int = 0
    noise: NoiseName = "float32"
    head_dtype: HeadDtype | None = None
    images_per_draw: int = 1
    batch_size: int = 256

    def __post_init__(self) -> None:
        self._check_method()
        if self.method == "margin":
            return
        checked = {
            "n0": confidence.checked_count(self.n0, "n0"),
            "n": confidence.checked_count(self.n, "n"),
            "alpha": confidence.check_alpha(self.alpha),
            "seed": checked_seed(self.seed),
            "batch_size": confidence.checked_count(self.batch_size, "batch_size"),
            "images_per_draw": confidence.checked_count(self.images_per_draw, "images_per_draw"),
        }
        if self.target_radii is not None:
            checked["target_radii"] = checked_target_radii(self.target_radii)
        if self.tolerance is not None:
            checked["tolerance"] = checked_tolerance(self.tolerance)
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        # Known by its name only from here on.
        noise_model(self.noise)
        check_goes_with(checked_head_dtype(self.head_dtype), self.noise)
        self._check_samples()

    @property
    def shared_noise(self) -> bool:
        """Whether images share their noise, which is the same for any number of them above 1."""
        return self.images_per_draw > 1

    def columns(self) -> dict[str, object]:
        """Returns what a row of a certification file says of the settings, dict of str to value."""
        if self.method == "margin":
            return {"method": self.method}
        # Files without a cast are those of versions that knew none.
        cast = {} if self.head_dtype is None else {"head_dtype": self.head_dtype}
        return {
            "method": self.method,
            "target_radii": self.target_radii,
            "tolerance": self.tolerance,
            "n0": self.n0,
            "n": self.n,
            "alpha": self.alpha,
            "against": self.against,
            "seed": self.seed,
            "noise": self.noise,
            **cast,
            "shared_noise": self.shared_noise,
        }

    def _check_method(self) -> None:
        checked_against(self.against)
        if self.method not in METHODS:
            raise ValueError(
                f"`method` must be one of {', '.join(METHODS)}. Received: {self.method!r}"
            )
        if self.method == "margin":
            self._check_margin()
            return
        if self.method == "fixed":
            for name in ("tolerance", "target_radii"):
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"`{name}` goes with `method='sequential'` only; a fixed number of samples "
                        "proves the largest radius it can. "
                        f"Received: {name}={getattr(self, name)!r}"
                    )
            return
        if self.against != "half":
            raise ValueError(
                "`against` belongs to `method='fixed'`: sequential methods hold a class against "
                f"one half. Received: against={self.against!r}"
            )
        if (self.target_radii is None) == (self.tolerance is None):
            raise ValueError(
                "`method='sequential'` needs `target_radii`, the radii that are of interest, for "
                "example target_radii=[0.25, 0.5], or a `tolerance`, for example 0.05, but not "
                f"both. Received: target_radii={self.target_radii!r}, tolerance={self.tolerance!r}"
            )
        if self.images_per_draw != 1:
            raise ValueError(
                "`images_per_draw` belongs to `method='fixed'`: with sequential tests images need "
                f"different samples. Received: images_per_draw={self.images_per_draw!r}"
            )

    def _check_margin(self) -> None:
        # The seed and the size of passes change nothing that a certificate says.
        changed = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in dataclasses.fields(self)
            if field.name not in ("method", "seed", "batch_size")
            and getattr(self, field.name) != field.default
        ]
        if changed:
            raise ValueError(
                "`method='margin'` takes no noisy samples: its certificates come from the logits, "
                f"and are certain. Leave out {', '.join(changed)}."
            )

    def __repr__(self) -> str:
        """Returns the settings that have a meaning."""
        names = ["method"] if self.method == "margin" else list(SettingsArguments.__annotations__)
        return f"Settings({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    def _check_samples(self) -> None:
        check_enough_samples(self.n, self.alpha, self.against)
        if self.images_per_draw > self.batch_size:
            raise ValueError(
                "`images_per_draw` must be at most `batch_size`, the noisy samples in one pass of "
                f"the head. Received: images_per_draw={self.images_per_draw}, "
                f"batch_size={self.batch_size}"
            )


def check_enough_samples(n: int, alpha: float, against: Against) -> None:
    """Raises if n samples could never certify anything."""
    # Against the runner-up the class has half of alpha.
    smallest = confidence.smallest_certifying_n(alpha if against == "half" else alpha / 2)
    if n < smallest:
        raise ValueError(
            f"With n={n} samples nothing can be certified at alpha={alpha}, not even when all of "
            f"them agree. Use n={smallest} or more (100,000 is customary)."
        )


def checked_seed(seed: object) -> int:
    """Returns a seed as an int, or raises if it is not a 64-bit signed integer."""
    if not (is_whole_number(seed) and -(2**63) <= seed < 2**63):
        raise ValueError(
            "`seed` must be a whole number from -2**63 to 2**63 - 1 (for a fresh one, "
            f"`secrets.randbits(63)`). Received: seed={seed!r}"
        )
    return int(seed)


def checked_against(against: Against) -> Against:
    """Returns what a class is held against, or raises if it is not one of `AGAINST`."""
    if against not in AGAINST:
        raise ValueError(f"`against` must be one of {', '.join(AGAINST)}. Received: {against!r}")
    return against


def checked_target_radii(target_radii: TargetRadii) -> tuple[float, ...]:
    """Returns target radii as an ascending tuple of floats, or raises if one is impossible."""
    radii = np.ravel(target_radii).tolist()
    if not all(map(_is_above_zero, radii)):
        raise ValueError(
            "`target_radii` must be numbers above 0, L2 radii in units of pixels in [0, 1]. "
            f"Received: target_radii={target_radii!r}"
        )
    if not radii or len(set(radii)) < len(radii):
        raise ValueError(
            "`target_radii` must be at least one radius, each of them once. "
            f"Received: target_radii={target_radii!r}"
        )
    return tuple(sorted(map(float, radii)))


def checked_tolerance(tolerance: object) -> float:
    """Returns a tolerance as a float, or raises if it is not a number above 0."""
    if not _is_above_zero(tolerance):
        raise ValueError(
            "`tolerance` must be a number above 0, in units of pixels in [0, 1]. "
            f"Received: tolerance={tolerance!r}"
        )
    return float(tolerance)


def _is_above_zero(value: object) -> TypeGuard[float]:
    return is_real_number(value) and math.isfinite(value) and value > 0
