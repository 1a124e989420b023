"""Small parts that a program in `examples/` and a lesson of the course share. No part knows a page,
a server or a file."""
