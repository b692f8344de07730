"""What a seat has to do: each duty looks at the situation and names what is due, nothing more.

The latest periods come first: a backlog must not make the present late too.
"""
