"""What a seat has to do: each duty looks at the situation and names what is due, nothing more."""
