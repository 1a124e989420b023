"""What must come out on the page of lesson 03."""

from course.claims import Claim

CLAIMS = {
    "03.walk": Claim(
        "The direction of the gradient raises the loss more than five times as high as any of ten "
        "random directions.",
        lambda uphill, anywhere: uphill.max() > 5 * anywhere.max(),
    ),
    "03.gain": Claim(
        "At equal length the sign step gains no more than the gradient's own direction, in any "
        "text.",
        lambda shortened, fgm: (shortened <= fgm * 1.001).all(),
    ),
    "03.same-step": Claim(
        "Your step is the library's step.",
        lambda off: all(own.median() < 0.03 and own.max() < 0.3 for own in off.values()),
    ),
    "03.angle": Claim(
        "The cosine with a random direction is of size 1 / sqrt(dimensions).",
        lambda spreads: all(abs(spread * d**0.5 - 1) < 0.1 for d, spread in spreads.items()),
    ),
    "03.control": Claim(
        "FGM does far more harm than noise of the same length, which does hardly any.",
        lambda hits, clean, n: (
            hits["noise"][0.3] - hits["FGM"][0.3] > 0.1 * n
            and hits["noise"][0.8] > clean - 0.05 * n
        ),
    ),
    "03.more-eps": Claim(
        "The larger eps is, the more harm FGM does.",
        lambda fgm, n: fgm[0.8] - 0.03 * n < fgm[0.3] < fgm[0.05],
    ),
    "03.lengths": Claim(
        "Give or take 3 % of the texts, at every eps FGSM, the longer step, does at least as much "
        "as FGM, and shortened to equal length it does no more; somewhere it falls clearly behind.",
        lambda hits, n: (
            all(
                hits["FGSM"][eps] < k + 0.03 * n and k < hits["FGSM, shortened"][eps] + 0.03 * n
                for eps, k in hits["FGM"].items()
            )
            and max(hits["FGSM, shortened"][eps] - k for eps, k in hits["FGM"].items()) > 0.05 * n
        ),
    ),
    "03.library": Claim(
        "The library's accuracies and yours agree to three percent of the texts.",
        lambda mine, library: all(abs(mine[name] - library[name]) < 0.03 for name in mine),
    ),
    "03.masking": Claim(
        "For a model made sure of itself the gradient of the cross-entropy vanishes on many texts, "
        "and the accuracy under attack looks better; under the log-odds it is what it was.",
        lambda silent, n, naive, honest, before: (
            silent > 0.2 * n and naive > before + 0.1 and abs(honest - before) < 0.03
        ),
    ),
    "03.plane": Claim(
        "For the smallest step the plane is right, and for a step of 0.3 it promises far too "
        "little.",
        lambda sizes, ratio: 0.8 <= ratio[0] <= 1.25 < ratio[sizes.index(0.3)],
    ),
    "03.second-look": Claim(
        "Two half steps stay in the ball, and a second look does no less harm with the same "
        "budget.",
        lambda lengths, radius, once, twice: (lengths <= radius * 1.001).all() and twice <= once,
    ),
    "03.few-tokens": Claim(
        "The three strongest tokens carry more than one and a half times what three would carry if "
        "all carried the same.",
        lambda top, even: top > 1.5 * even,
    ),
    "03.opinion": Claim(
        "Opinion words carry more than twice their share of the gradient: it looks at the words "
        "that decide.",
        lambda carried, counted: carried > 2 * counted,
    ),
    "03.rounding": Claim(
        "At eps = 0.3 nearly every token is still nearest to its own word, and rounding to words "
        "undoes the attack.",
        lambda kept, attacked, rounded: kept > 0.98 and rounded - attacked > 0.1,
    ),
    "03.own-word": Claim(
        "The word nearest to the token that moved most is still its own.",
        lambda nearest, own: nearest == own,
    ),
    "03.far-apart": Claim(
        "Half the way to a word's nearest neighbour is long in units of the attack, and the attack "
        "does not point there.",
        lambda half, angle: half.median() > 0.15 and angle.abs().median() < 0.3,
    ),
    "03.opposites": Claim(
        "Most changed words turned into their opposites, and there the attack points to the new "
        "word more than twice as much as to a neighbour elsewhere.",
        lambda turned, changed, lean, angle: (
            turned > 0.7 * changed and lean > 2 * angle.abs().median()
        ),
    ),
}
