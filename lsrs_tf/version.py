"""The version of the package, in one place for the code, the packaging and exported models."""

__version__ = "0.1.0"
