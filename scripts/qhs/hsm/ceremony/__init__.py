"""Ceremonies in which keys are made: from one reviewed script, by consent of several, before witnesses (C-HSM-03)."""
