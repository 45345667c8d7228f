"""Drills: the estate moves from one site to the other and back by plans that are data, each with a signed report."""
