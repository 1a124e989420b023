"""What must come out on the page of lesson 01."""

from itertools import pairwise

from course.claims import Claim


def _search(found, exact):
    """found: per norm the losses with more and more tries; exact: per norm the closed form."""
    return all(
        all(fewer <= more + 1e-5 for fewer, more in pairwise(found[norm]))
        and found[norm][-1] <= exact[norm] + 1e-5
        and exact[norm] - found[norm][-1] < 0.02
        for norm in exact
    )


def _front(curve, others):
    """curve: (clean loss, adversarial loss) per lam; others: the same of models beside it."""
    return all(
        ours + lam * ours_adv - theirs - lam * theirs_adv < 1e-3 * (1 + lam)
        for lam, (ours, ours_adv) in curve.items()
        for theirs, theirs_adv in others
    )


CLAIMS = {
    "01.standard": Claim(
        "The standard model is right on more than 98 % of the clean points.",
        lambda clean: clean > 0.98,
    ),
    "01.noise": Claim(
        "Random pushes from the same ball are a far weaker attack than the worst ones.",
        lambda attacked, noisy: attacked < noisy - 0.1,
    ),
    "01.search": Claim(
        "More tries find more harm and never more than the closed form; a thousand come close.",
        _search,
    ),
    "01.gradients": Claim(
        "All four ways give the same gradient.",
        lambda gradients: all(
            (g - gradients["by hand"]).abs().max() < 1e-5 for g in gradients.values()
        ),
    ),
    "01.poor_attack": Claim(
        "With a poor δ it matters what is held fixed, and the gradient is that of another loss.",
        lambda worst, held, through: (
            (held - through).norm() > worst.norm() and (held - worst).norm() > worst.norm()
        ),
    ),
    "01.lam": Claim(
        "At eps = 0.6, robust accuracy grows with lam, and clean accuracy pays for it.",
        lambda clean, robust: robust[0] < robust[1] < robust[2] and clean[0] > clean[2],
    ),
    "01.strip": Claim(
        "The strip grows with eps, and no line does better than the widest strip.",
        lambda kept, widest: (
            all(near <= widest + 1e-3 for near in kept.values())
            and kept[0.0] < kept[0.5] < kept[0.8]
        ),
    ),
    "01.clear": Claim(
        "Below the widest strip every point is safe from an attacker with eps; beyond it, not all.",
        lambda safe: all((share == 1) == (part < 1) for part, share in safe.items()),
    ),
    "01.renewed": Claim(
        "An attack that is renewed at every step trains a better model than any frozen one.",
        lambda renewed, frozen: all(renewed > share for share in frozen),
    ),
    "01.game": Claim(
        "The frozen game swings to and fro, and whoever moves second pays less.",
        lambda narrow, second, first: narrow[0] < 0 < narrow[1] and second < first,
    ),
    "01.slopes": Claim(
        "The intended loss falls as the model becomes right, the published as it becomes wrong.",
        lambda slopes: slopes[0] < 0 < slopes[1],
    ),
    "01.unbounded": Claim(
        "The published loss falls without end.",
        lambda losses: losses[-1] < losses[-2] < losses[-3] < 0,
    ),
    "01.what_shows": Claim(
        "At step 200 clean accuracy does not show the error; robust accuracy shows it, and so does "
        "a loss below zero.",
        lambda intended, published: (
            published[1] >= intended[1]
            and published[2] < intended[2] - 0.2
            and published[0] < 0 < intended[0]
        ),
    ),
    "01.curve": Claim(
        "No other model lies below the curve that the weighted sum draws.",
        _front,
    ),
}
