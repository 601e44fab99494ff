"""The head of a ResNet18 in PyTorch, and the sampling loop that the field's tools run on it."""

import numpy as np
import torch


class TorchHead(torch.nn.Module):
    """The last stages of a ResNet18 (He et al. 2015) behind a latent [channels, height, width].

    Args:
        channels: int, channels of the latent.
        blocks: list of (filters, strides), the residual blocks.
        num_classes: int.
    """

    def __init__(self, channels, blocks, num_classes):
        super().__init__()
        self.blocks = torch.nn.ModuleList()
        for filters, strides in blocks:
            self.blocks.append(_Block(channels, filters, strides))
            channels = filters
        self.logits = torch.nn.Linear(channels, num_classes)

    def forward(self, latents):
        """Returns the logits [batch, classes] of latents."""
        for block in self.blocks:
            latents = block(latents)
        return self.logits(latents.mean(dim=(2, 3)))


class _Block(torch.nn.Module):
    def __init__(self, channels, filters, strides):
        super().__init__()
        conv, norm = torch.nn.Conv2d, torch.nn.BatchNorm2d
        self.branch = torch.nn.Sequential(
            conv(channels, filters, 3, strides, 1, bias=False),
            norm(filters),
            torch.nn.ReLU(),
            conv(filters, filters, 3, 1, 1, bias=False),
            norm(filters),
        )
        self.shortcut = torch.nn.Identity()
        if strides != 1 or channels != filters:
            self.shortcut = torch.nn.Sequential(
                conv(channels, filters, 1, strides, bias=False), norm(filters)
            )

    def forward(self, inputs):
        return torch.relu(self.branch(inputs) + self.shortcut(inputs))


def count_votes(head, latent, sigma, samples, batch_size, num_classes):
    """Counts votes as Cohen et al. (2019) do: batches of copies, noise, argmax.

    Args:
        head: module.
        latent: tensor [channels, height, width], of the dtype of the head.
        sigma: float, standard deviation of the noise.
        samples: int.
        batch_size: int.
        num_classes: int.

    Returns:
        int array [classes].
    """
    counts = np.zeros(num_classes, int)
    with torch.no_grad():
        while samples > 0:
            size = min(batch_size, samples)
            samples -= size
            batch = latent.repeat((size, 1, 1, 1))
            predictions = head(batch + torch.randn_like(batch) * sigma).argmax(1)
            counts += np.bincount(predictions.numpy(), minlength=num_classes)
    return counts
