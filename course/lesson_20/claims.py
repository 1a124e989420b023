"""What must come out on the page of lesson 20."""

from course.claims import Claim

CLAIMS = {
    "20.length": Claim(
        "The mean length is within a tenth of the square root of the number of coordinates.",
        lambda sizes: abs(sizes.mean() / 32**0.5 - 1) < 0.1,
    ),
}
