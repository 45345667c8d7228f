"""How fast it is: figures of a running twin and of plans, as machines differ beside one another in the same run."""
