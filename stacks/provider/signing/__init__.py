"""Tokens, keys and certificates on HSMs, as resources."""
