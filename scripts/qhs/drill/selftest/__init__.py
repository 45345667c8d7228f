"""Faults that drills must find: each is put in, must turn its drill red for its own reason, and is taken out again."""
