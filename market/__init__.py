"""Off-chain side of Subgrid: pure models first, then the chain client."""
