"""Rulesets of firewall pairs and machines, through `qhs-ruleset` on each of them."""
