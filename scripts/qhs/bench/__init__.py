"""How fast it is: figures of a running twin, as machines differ beside one another in the same run."""
