"""Where a node's prices come from: what is configured, read, checked and kept."""
