"""A market day without a chain: the same scenario under each rule, compared."""
