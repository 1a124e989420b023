"""What must come out on the page of lesson 15."""

CLAIMS = {}
