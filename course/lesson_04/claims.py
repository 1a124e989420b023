"""What must come out on the page of lesson 04."""

from course.claims import Claim


def falling(values, slack=0.0):
    """Whether no value is more than slack above the one before it."""
    return all(b <= a + slack for a, b in zip(values, values[1:], strict=False))


def ordered(curves, slack):
    """Noise, FGM and PGD in this order for every model, PGD falling, and at the end near zero."""
    return all(
        all(n >= f - slack and f >= p - slack for n, f, p in zip(*lines.values(), strict=True))
        and falling(lines["PGD"], slack) and lines["PGD"][-1] <= 0.05
        for lines in curves.values()
    )  # fmt: skip


def opens(curves):
    """Whether the gap between FGM and PGD opens as eps grows, for every model."""
    gaps = [[f - p for f, p in zip(c["FGM"], c["PGD"], strict=True)] for c in curves.values()]
    return all(max(gap) > gap[1] + 0.05 and max(gap) > 0.1 for gap in gaps)


def steeper(surface):
    """Whether the middle row rises more than three times as much as the middle column."""
    row, column = surface[surface.shape[0] // 2], surface[:, surface.shape[0] // 2]
    return row.max() - row.min() > 3 * (column.max() - column.min())


CLAIMS = {
    "04.looks": Claim(
        "Over the same distance, more looks at the gradient do more harm: the gradient turns on "
        "the way. A walk that turns ends nearer to its start than it is long.",
        lambda ends, reached, compass: ends[1] < ends[2] < ends[8] and compass[-1] < 0.8
        and all(part < 0.99 for looks, part in reached.items() if looks > 1),
    ),
    "04.nearest": Claim(
        "No random point of the ball or of the cube is nearer than the projection, or in front of "
        "somebody who looks from it to the point outside. Rescaling fails this test for the cube.",
        lambda ahead, nearer, ahead_if_rescaled: max(ahead.values()) < 1e-4
        and not any(nearer.values()) and ahead_if_rescaled > 0.5,
    ),
    "04.pgd": Claim(
        "Ten steps of PGD do more harm than the one step of FGM, and your PGD does what the "
        "library's does.",
        lambda right, mean_odds: right["your PGD, 10 steps"] <= right["FGM"]
        and mean_odds["your PGD, 10 steps"] > mean_odds["FGM"] + 0.3
        and abs(mean_odds["your PGD, 10 steps"] - mean_odds["library's PGD"]) < 0.2,
    ),
    "04.step_size": Claim(
        "Long steps lead at first, but at the end steps of eps/2 are ahead of both the longer and "
        "the shorter ones. The rule of thumb is late, and the shrinking steps are about as good.",
        lambda runs: runs["4·eps"][1] > runs["eps/2"][1] > runs["eps/20"][1]
        and runs["eps/2"][-1] > max(runs["4·eps"][-1], runs["eps/20"][-1])
        and runs["2.5·eps/steps"][3] < runs["eps/2"][3]
        and runs["eps/√k"][-1] > runs["eps/2"][-1] - 0.3,
    ),
    "04.uniform": Claim(
        "About a quarter of your random points of the disc are within half the radius.",
        lambda within_half: abs(within_half - 0.25) < 0.08,
    ),
    "04.restarts": Claim(
        "With the best of more runs kept the attack is never weaker, and here hardly stronger.",
        lambda right: falling(right) and right[0] - right[-1] < 0.15,
    ),
    "04.starts": Claim(
        "Which text it is matters more than where the attack begins, and for most texts no random "
        "start finds more than the start at zero.",
        lambda within, between, ahead: within < between and ahead > 0.6,
    ),
    "04.slope": Claim(
        "In PGD's direction the landscape rises more than three times as much as in a random one.",
        lambda surface: steeper(surface),
    ),
    "04.curves": Claim(
        "More effort never leaves more texts right, a larger eps never helps the model (both up to "
        "two texts), and at the largest eps PGD fools it on nearly everything.",
        lambda curves, slack: ordered(curves, slack),
    ),
    "04.one_step": Claim(
        "The gap between FGM and PGD opens as eps grows, and FGM alone flatters the model.",
        lambda curves: opens(curves),
    ),
    "04.scope": Claim(
        "The same eps per token is a far larger budget than per text; at the same total length "
        "the budget per text lets the attacker do at least as much.",
        lambda per_text, per_token, same_total: per_token[0] > 1.5 * per_text[0]
        and per_token[1] < per_text[1] - 0.1 and same_total[1] <= per_token[1] + 0.05,
    ),
    "04.target": Claim(
        "With two classes the targeted attack turns as many texts as the untargeted one, and the "
        "texts of the target class stay there.",
        lambda targeted, untargeted, rest: abs(targeted - untargeted) < 0.05 and rest > 0.8,
    ),
    "04.deep": Claim(
        "One run of 30 steps is not worse than three of ten, and neither is worse than one run of "
        "ten, which both contain.",
        lambda cost: min(cost["1 × 30"][1], cost["3 × 10"][1]) >= cost["1 × 10"][1] - 0.05
        and cost["1 × 30"][1] > cost["3 × 10"][1] - 0.1,
    ),
    "04.more_steps": Claim(
        "Early steps gain more than late ones, and more steps never leave more texts right.",
        lambda cost, per_step: per_step[0] > per_step[1]
        and cost["1 × 60"][0] <= cost["1 × 30"][0] + 0.01
        and cost["1 × 30"][0] <= cost["1 × 10"][0] + 0.01,
    ),
    "04.tiny": Claim(
        "The tiny model has learned its language.",
        lambda loss: loss < 0.05,
    ),
    "04.disc": Claim(
        "A push along (1, 1, 1) has no effect, so the ball has shrunk to a disc.",
        lambda apart: apart < 1e-9,
    ),
    "04.grid": Claim(
        "The grid is fine enough, and the three-dimensional ball holds nothing worse than the "
        "disc.",
        lambda coarse, fine, solid: abs(fine - coarse) < 0.05 and solid <= fine + 0.01,
    ),
    "04.hills": Claim(
        "From the centre PGD climbs the wrong hill, whatever its step size; from a little more "
        "than half of the other starts it finds the exact worst point, and it never beats it.",
        lambda summit, ends, from_centre, arrived: ends[0] < summit - 3
        and abs(max(ends) - summit) < 0.05 and max(ends) <= summit + 0.02
        and all(stuck < summit - 3 for stuck in from_centre)
        and 12 <= (arrived > summit - 0.1).sum() <= 14,
    ),
    "04.gain": Claim(
        "No search finds more than there is. Here restarts matter: five runs fool more than twice "
        "as many sentences as one, and are nearly exact.",
        lambda once, often, exact, others: (often >= once).all()
        and (often > 0).sum() > 2 * (once > 0).sum() and (often > exact - 0.1).sum() >= 22
        and all((found <= exact + 0.05).all() for found in others.values()),
    ),
    "04.words": Claim(
        "The ball holds all that is alike and no opposite. No allowed text fools the model, and "
        "yet its ball is full of points that do.",
        lambda eps, nearest_opposite, clean, worst_text, pgd, ball: eps < nearest_opposite
        and (clean <= worst_text).all() and (worst_text <= ball).all()
        and (pgd <= ball + 0.05).all()
        and (worst_text < 0).all() and (ball > 0).float().mean() > 0.9,
    ),
}  # fmt: skip
