"""Losses as their papers state them, in NumPy and float64, one image at a time."""

import numpy as np


def crossentropy(logits, label):
    highest = np.max(logits)
    return highest + np.log(np.sum(np.exp(logits - highest))) - logits[label]


def offset_crossentropy(logits, label, offset, temperature):
    shifted = np.array(logits)
    shifted[label] -= offset
    return temperature * crossentropy(shifted / temperature, label)


def smoothed_crossentropy(logits, label, smoothing):
    spread = np.mean([crossentropy(logits, each) for each in range(len(logits))])
    return (1 - smoothing) * crossentropy(logits, label) + smoothing * spread


def margin_hinge(logits, label, margin):
    return max(0.0, margin - logits[label] + np.max(np.delete(logits, label)))


def class_distances(kernel, label):
    return np.array([np.linalg.norm(kernel[:, label] - column) for column in kernel.T])


def lipschitz_margin_crossentropy(logits, label, radius, constants):
    return crossentropy(logits + radius * constants, label)


def certificate_regularized_crossentropy(logits, label, gamma, constants):
    others = np.arange(len(logits)) != label
    radius = np.min((logits[label] - logits[others]) / constants[others])
    return crossentropy(logits, label) - gamma * max(0.0, radius)


def emma_shares(logits, label, radius, constants):
    needed = [
        (logits[label] - logit) / (radius * constant) if constant else 0.0
        for logit, constant in zip(logits, constants, strict=True)
    ]
    return np.clip(needed, 0.01, 1.0)


def emma(logits, label, radius, constants, shares=None):
    if shares is None:
        shares = emma_shares(logits, label, radius, constants)
    return crossentropy(logits - logits[label] + shares * radius * constants, label)
