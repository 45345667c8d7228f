"""The lease of the estate: which site is active."""
