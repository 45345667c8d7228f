"""The estate on one machine: real Debian machines, bridges and clients in one network namespace."""
