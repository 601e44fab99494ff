"""Numbers below the layers: Fourier products, spectra, orthogonal matrices, norms, rounding."""
