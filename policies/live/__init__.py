"""What the machines of a running estate say of themselves, as facts for the rules of `policies.rules`."""
