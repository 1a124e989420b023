"""What must come out on the page of lesson 09."""

from itertools import pairwise

from course.claims import Claim

CLAIMS = {
    "09.units": Claim(
        "The plan of every method costs as many units as the library counts for it.",
        lambda planned, counted: planned == counted,
    ),
    "09.freelb": Claim(
        "Your FreeLB and the library's leave the same gradient in the weights.",
        lambda mine, theirs: (mine - theirs).abs().max() < 1e-3 * theirs.abs().max(),
    ),
    "09.climb": Claim(
        "Each point of the walk has a larger loss than the one before it.",
        lambda losses: all(a < b for a, b in pairwise(losses.tolist())),
    ),
    "09.flat": Claim(
        "At half the distance the gradient of the divergence is about half as long, and at δ = 0 "
        "there is none.",
        lambda lengths: (
            1.6 < lengths[0.1] / lengths[0.05] < 2.4 and lengths[0.0] < 1e-3 * lengths[0.05]
        ),
    ),
    "09.line": Claim(
        "One step from a random start finds the line on which FGM's direction lies.",
        lambda cosines: cosines[1].abs().mean() > 0.5 > 3 * cosines[0].abs().mean(),
    ),
    "09.side": Claim(
        "On which side of that line the step ends is left to chance.",
        lambda up: 0.15 < up.float().mean() < 0.85,
    ),
    "09.stronger": Claim(
        "On its better side the step moves the prediction at least three times as far as noise.",
        lambda there, opposite, noise: there.maximum(opposite).mean() > 3 * noise.mean(),
    ),
    "09.replays": Claim(
        "Free makes one forward pass in each replay.",
        lambda passes, replays: passes == replays,
    ),
    "09.tamed": Claim(
        "While delta climbs, the weights push the hill down: at the last replay the loss is "
        "smaller than where the weights stay.",
        lambda moving, still: still[-1] > moving[-1],
    ),
    "09.dear": Claim(
        "A step of PGD-3 takes clearly longer than a plain one.",
        lambda ratio: ratio > 1.2,
    ),
    "09.equal": Claim(
        "Every method made more than one step, and spent its budget up to half a step.",
        lambda rows: all(
            steps > 1 and abs(steps * one - budget) <= one / 2 for steps, one, budget in rows
        ),
    ),
    "09.long": Claim(
        "With three times the budget FGM does not fall behind plain training under PGD.",
        lambda fgm, plain: fgm > plain - 0.05,
    ),
    "09.fall": Claim(
        "After single steps FGM says that the model is robust, and PGD says that it is lost.",
        lambda fgm, pgd: fgm > 0.75 and pgd < 0.35,
    ),
    "09.easier": Claim(
        "The single-step attack makes texts easier than no attack does.",
        lambda fgm, clean: fgm > clean,
    ),
    "09.cure": Claim(
        "A random start is no cure here, and more steps are one.",
        lambda random_start, four, one: random_start < 0.43 and four > one + 0.1,
    ),
    "09.alarm": Claim(
        "The model that the alarm keeps is far better under PGD than the one at the end, and "
        "there is no alarm where nothing falls.",
        lambda kept, end, quiet: kept > end + 0.15 and not quiet,
    ),
    "09.budget": Claim(
        "With less than the budget of the race nothing can be chosen.",
        lambda chosen: chosen is None,
    ),
}
