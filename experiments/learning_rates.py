"""Learning rates that change from step to step of a training."""

import keras


def step_decay(learning_rate, decay_epochs, steps_per_epoch, epochs):
    """Returns the schedule that divides the learning rate by 10 every `decay_epochs` epochs.

    It counts optimizer steps, which a checkpoint holds, so that a resumed run goes on correctly.
    """
    boundaries = [epoch * steps_per_epoch for epoch in range(decay_epochs, epochs, decay_epochs)]
    if not boundaries:
        return learning_rate
    values = [learning_rate * 0.1**step for step in range(len(boundaries) + 1)]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)


def cosine_decay(learning_rate, steps):
    """Returns the schedule that lowers the learning rate to 0 along half a cosine.

    Args:
        learning_rate: float, the initial rate.
        steps: int, optimizer steps of the whole training.
    """
    return keras.optimizers.schedules.CosineDecay(learning_rate, steps)


def one_cycle(learning_rate, steps):
    """Returns the schedule that raises the learning rate, and lowers it to almost 0.

    It rises linearly from a 25th to the whole rate in the first 30 % of the training, and falls to
    a 250,000th along half a cosine (Smith and Topin, "Super-Convergence", 2017; the numbers are
    those of PyTorch's `OneCycleLR`). The momentum stays the same.

    Args:
        learning_rate: float, the highest rate.
        steps: int, optimizer steps of the whole training.
    """
    rise = round(0.3 * steps)
    return keras.optimizers.schedules.CosineDecay(
        learning_rate / 25,
        max(1, steps - rise),
        alpha=1 / 250_000,
        warmup_target=learning_rate,
        warmup_steps=rise,
    )
