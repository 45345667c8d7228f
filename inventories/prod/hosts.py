#!/usr/bin/env python3
"""Ansible's inventory script of `prod`: everything in it comes from estate.yaml and the catalogue."""

from qhs.inventory import main

main("prod")
