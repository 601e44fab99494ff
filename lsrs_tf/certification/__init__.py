"""Certificates: settings, decisions, the certifier, and the functions of a Keras pipeline."""
