"""Sets up what `make demo` and `make test` need: Python packages, anvil, the compiler.

Uses nothing but Python's standard library, so that it runs before anything is installed. Each step
leaves a stamp only once it has succeeded; the stamp holds a hash of what the step depends on. So a
second run costs nothing, a changed pin installs anew, and an interrupted run starts over.
"""
