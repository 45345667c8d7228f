"""The databases of each site: who takes writes, and how far each copy is behind it."""
