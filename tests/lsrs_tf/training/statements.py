"""Objectives as their papers state them, in NumPy and float64, one image at a time.

Each takes the head as a function of a latent, which returns the logits.
"""

import numpy as np
import scipy.stats


def probabilities(logits):
    powers = np.exp(logits - np.max(logits))
    return powers / np.sum(powers)


def divergence(target, p):
    return np.sum(target * (np.log(target) - np.log(p)))


def consistency(head, latent, label, noises, weight, entropy_weight):
    p = [probabilities(head(latent + noise)) for noise in noises]
    mean = np.mean(p, axis=0)
    crossentropy = np.mean([-np.log(each[label]) for each in p])
    spread = np.mean([divergence(mean, each) for each in p])
    return crossentropy + weight * spread - entropy_weight * np.sum(mean * np.log(mean))


def macer(head, latent, label, noises, sigma, weight, margin, inverse_temperature):
    logits = [head(latent + noise) for noise in noises]
    soft = np.mean([probabilities(each) for each in logits], axis=0)
    hard = np.mean([probabilities(inverse_temperature * each) for each in logits], axis=0)
    loss = -np.log(soft[label])
    if np.argmax(hard) == label:
        other = np.max(np.delete(hard, label))
        gap = scipy.stats.norm.ppf(hard[label]) - scipy.stats.norm.ppf(other)
        loss += weight * sigma / 2 * max(0.0, margin - gap)
    return loss


def differences(function, point, step=1e-6):
    """Returns the gradient of a function of an array by central differences."""
    gradient = np.zeros_like(point)
    for index in np.ndindex(point.shape):
        moved = np.zeros_like(point)
        moved[index] = step
        gradient[index] = (function(point + moved) - function(point - moved)) / (2 * step)
    return gradient


def ascended(function, start, radius, steps):
    """Moves a point within a ball by steps along the normalized gradient."""
    change = np.zeros_like(start)
    for _ in range(steps):
        gradient = differences(function, start + change)
        change = change + 2 * radius / steps * gradient / np.linalg.norm(gradient)
        change = change * min(1.0, radius / np.linalg.norm(change))
    return change


def smooth_adv_change(head, latent, label, noises, radius, steps):
    def loss(moved):
        mean = np.mean([probabilities(head(moved + noise)) for noise in noises], axis=0)
        return -np.log(mean[label])

    return ascended(loss, latent, radius, steps)


def smooth_adv(head, latent, label, noises, change):
    return np.mean(
        [-np.log(probabilities(head(latent + change + noise))[label]) for noise in noises]
    )


def catrs_target(head, latent, noises):
    return np.mean([probabilities(head(latent + noise)) for noise in noises], axis=0)


def catrs_changes(head, latent, noises, radius, steps):
    target = catrs_target(head, latent, noises)
    return [
        ascended(
            lambda moved: divergence(target, probabilities(head(latent + moved))),
            noise,
            radius,
            steps,
        )
        for noise in noises
    ]


def catrs(head, latent, label, noises, weight, number, target, changes):
    losses = sorted(-np.log(probabilities(head(latent + noise))[label]) for noise in noises)
    loss = np.sum(losses[:number]) / len(noises)
    if number == len(noises):
        loss += weight * max(
            divergence(target, probabilities(head(latent + noise + change)))
            for noise, change in zip(noises, changes, strict=True)
        )
    return loss
