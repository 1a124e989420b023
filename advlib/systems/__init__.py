"""Small parts that a program in `examples/` and a lesson share: no page, no server, no model."""
