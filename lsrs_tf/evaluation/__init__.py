"""Metrics and pictures of certified test sets."""
