"""Real packets from real places: what the estate's firewalls and hosts do, against what the catalogue says."""
