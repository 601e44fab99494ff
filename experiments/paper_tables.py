"""Tables 1 to 3 of the LS-RS paper: which networks they compare, and what the authors measured.

Source: Zeng, Su and Huang, "Certified Defense via Latent Space Randomized Smoothing with Orthogonal
Encoders" (2021), tables 1 to 3; the training is that of appendix B. Table 2 has rows of LS-RS only;
those of IS-RS, which its networks are held against, are the ones of table 1.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Cell:
    """One network of a table, with the figures of the paper as they are printed.

    Attributes:
        orthogonal_layers: int, layers of the encoder, 0 for input space smoothing.
        sigma: float, standard deviation of the noise; 0 for a network without noise.
        acr: str, average certified radius.
        accuracy: str, accuracy in percent.
        seconds: str, time of a certificate in seconds, '-' for networks without noise.
    """

    orthogonal_layers: int
    sigma: float
    acr: str
    accuracy: str
    seconds: str

    @property
    def defense(self):
        """'IS-RS' or 'LS-RS'."""
        return "LS-RS" if self.orthogonal_layers else "IS-RS"


@dataclasses.dataclass(frozen=True)
class PaperTable:
    """One table.

    Attributes:
        caption: str, what it is about.
        model: str, the architecture, see `fitting.MODELS`.
        layers: int, the layers of the network, as the paper counts them.
        flags: dict of str to value, flags of `experiments.train` as in the paper.
        cells: tuple of `Cell`, which are numbered from 1.
    """

    caption: str
    model: str
    layers: int
    flags: dict
    cells: tuple

    def replaced(self, cell):
        """Returns the fraction of the layers that belongs to the encoder, such as '9/18'."""
        return f"{cell.orthogonal_layers}/{self.layers}"


# Batch sizes are not in the paper.
_CIFAR = {
    "dataset": "cifar10",
    "width": 64,
    "epochs": 100,
    "batch_size": 128,
    "learning_rate": 0.01,
    "learning_rate_decay_epochs": 30,
    "momentum": 0.9,
}
# One image of each class was certified.
_IMAGENET = {
    **_CIFAR,
    "dataset": "imagenet2012",
    "widen_factor": 2,
    "epochs": 90,
    "batch_size": 256,
    "learning_rate": 0.1,
    "num_images": 1000,
}
del _IMAGENET["width"]

_IS_RS = (
    Cell(0, 0.0, "0.000", "93.15", "-"),
    Cell(0, 0.25, "0.472", "80.78", "11.212"),
    Cell(0, 0.5, "0.564", "68.24", "12.747"),
    Cell(0, 1.0, "0.532", "49.35", "12.953"),
)
_LS_RS_9 = (
    Cell(9, 0.0, "0.000", "86.92", "-"),
    Cell(9, 0.25, "0.444", "77.56", "7.904"),
    Cell(9, 0.5, "0.533", "66.68", "7.771"),
    Cell(9, 1.0, "0.524", "50.72", "7.985"),
)
TABLES = {
    1: PaperTable(
        "Efficiency and robustness evaluation on CIFAR10", "resnet18", 18, _CIFAR, _IS_RS + _LS_RS_9
    ),
    2: PaperTable(
        "Tuning the depth of the latent space for ResNet18 on CIFAR10",
        "resnet18",
        18,
        _CIFAR,
        (
            *_IS_RS,
            Cell(1, 0.0, "0.000", "93.15", "-"),
            Cell(1, 0.25, "0.478", "80.18", "12.689"),
            Cell(1, 0.5, "0.562", "68.89", "13.038"),
            Cell(1, 1.0, "0.522", "50.55", "12.879"),
            Cell(5, 0.0, "0.000", "91.26", "-"),
            Cell(5, 0.25, "0.475", "79.70", "10.375"),
            Cell(5, 0.5, "0.561", "68.09", "9.643"),
            Cell(5, 1.0, "0.540", "50.07", "9.913"),
            *_LS_RS_9,
            Cell(13, 0.0, "0.000", "79.40", "-"),
            Cell(13, 0.25, "0.387", "71.32", "6.131"),
            Cell(13, 0.5, "0.485", "62.14", "5.807"),
            Cell(13, 1.0, "0.480", "47.70", "5.827"),
        ),
    ),
    3: PaperTable(
        "Efficiency and robustness evaluation on ImageNet",
        "wide_resnet34",
        34,
        _IMAGENET,
        (
            Cell(0, 0.0, "0.000", "74.70", "-"),
            Cell(0, 0.25, "0.654", "73.89", "99.775"),
            Cell(0, 0.5, "1.166", "71.92", "87.738"),
            Cell(0, 1.0, "2.123", "69.19", "87.893"),
            Cell(16, 0.0, "0.000", "71.62", "-"),
            Cell(16, 0.25, "0.532", "69.69", "47.909"),
            Cell(16, 0.5, "1.063", "68.45", "48.098"),
            Cell(16, 1.0, "1.854", "65.07", "46.912"),
        ),
    ),
}
