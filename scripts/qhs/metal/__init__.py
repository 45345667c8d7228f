"""Machines of `prod`: their disk image, the medium that installs it, and the controllers that start them from it."""
