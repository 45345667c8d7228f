"""What runs in the clusters of the private cloud, as each application's own part finds it."""
