"""The ledger: what an outside client wrote, read and was refused, by its own clock and file (S-040, C-DR-06)."""
