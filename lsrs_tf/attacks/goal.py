"""What an attack on one image is to reach."""

import dataclasses

# What a classifier answers where it is not sure.
ABSTENTION = -1


@dataclasses.dataclass(frozen=True)
class Goal:
    """What the classifier's answer has to become.

    Attributes:
        label: int, the true class.
        target: int, the class that is wanted, or None for any other than the label.
    """

    label: int
    target: int | None = None

    @property
    def wanted(self) -> int:
        """The class that scores are about: the target, or the label."""
        return self.label if self.target is None else self.target

    def changed(self, answer: int) -> bool:
        """Returns whether an answer is a class that the attack wants; an abstention is none."""
        if self.target is not None:
            return answer == self.target
        return answer not in (self.label, ABSTENTION)

    def reached(self, answer: int) -> bool:
        """Returns whether an attack has succeeded: abstaining counts where there is no target."""
        return self.changed(answer) or (self.target is None and answer == ABSTENTION)
