"""The layer that ours is compared with, a Cayley convolution in PyTorch by FFT and inverse."""

import torch


class TorchCayleyConv2d(torch.nn.Module):
    """Circular convolution through the Cayley transform, equal numbers of inputs and outputs.

    Source: Trockman and Kolter, "Orthogonalizing Convolutional Layers with the Cayley Transform"
    (2021). Data is channels first, as PyTorch has it.

    Args:
        channels: int, inputs and outputs.
        kernel_size: int.
    """

    def __init__(self, channels, kernel_size):
        super().__init__()
        kernel = torch.randn(channels, channels, kernel_size, kernel_size)
        self.kernel = torch.nn.Parameter(kernel / (3 * kernel.norm() ** 2 / channels) ** 0.5)

    def spectrum(self, height, width):
        """Returns the orthogonal matrices [height * (width // 2 + 1), channels, channels]."""
        size = self.kernel.shape[-1]
        padded = torch.nn.functional.pad(self.kernel, (0, width - size, 0, height - size))
        shift = -((size - 1) // 2)
        spectrum = torch.fft.rfft2(torch.roll(padded, (shift, shift), dims=(2, 3)))
        spectrum = spectrum.permute(2, 3, 0, 1).reshape(-1, *self.kernel.shape[:2])
        skew = spectrum - spectrum.mH
        identity = torch.eye(skew.shape[-1], dtype=skew.dtype, device=skew.device)
        return torch.linalg.inv(identity + skew) @ (identity - skew)

    def forward(self, images):
        """Returns the convolution of `images` [batch, channels, height, width]."""
        batch, channels, height, width = images.shape
        frequencies = torch.fft.rfft2(images)
        columns = frequencies.shape[-1]
        frequencies = frequencies.permute(2, 3, 1, 0).reshape(-1, channels, batch)
        outputs = self.spectrum(height, width) @ frequencies
        outputs = outputs.reshape(height, columns, channels, batch).permute(3, 2, 0, 1)
        return torch.fft.irfft2(outputs, s=(height, width))
