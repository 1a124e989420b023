"""What must come out on the page of lesson 11."""

from course.claims import Claim


def chain(lower, exact, attack):
    """lower ≤ exact ≤ attack, text by text."""
    return all(a <= b <= c for a, b, c in zip(lower, exact, attack, strict=True))


CLAIMS = {
    "11.exact": Claim(
        "Text by text, what is robust in truth withstands the attack. The greedy search misses "
        "next to nothing: few texts that can be broken remain unbroken.",
        lambda exact, attack: chain(exact, exact, attack)
        and 0.3 < exact.mean() < 0.95 and attack.sum() - exact.sum() <= 0.1 * len(exact),
    ),
    "11.same": Claim(
        "Your enumeration and the library's agree on every text.",
        lambda yours, library: (yours == library).all(),
    ),
    "11.budget": Claim(
        "With fewer queries the same attack leaves more texts standing, and the truth does not "
        "move: what a small budget misses is no robustness.",
        lambda missed: missed[10] >= missed[20] >= missed[None] and missed[10] >= 3,
    ),
    "11.proved": Claim(
        "The model that was trained against attacks is robust on nearly all of these texts, and "
        "for these texts that is no longer a number from an attack.",
        lambda exact: exact.mean() > 0.9,
    ),
    "11.affine": Claim(
        "No random member leaves the box, and corners of the input reach each of its sides.",
        lambda outside, gap: outside == 0 and gap < 1e-5,
    ),
    "11.turned": Claim(
        "Turned and turned back, a point is where it was. The box has grown at every turn.",
        lambda sizes: all(b > 1.2 * a for a, b in zip(sizes, sizes[1:], strict=False)),
    ),
    "11.bert": Claim(
        "Each of the first two layers makes the box more than a hundred times wider than it was, "
        "and nothing is certified even at the smallest size.",
        lambda widths, certified: min(widths[1] / widths[0], widths[2] / widths[1]) > 100
        and max(certified) == 0,
    ),
    "11.members": Claim(
        "All random corners lie within the bounds, and the space that they fill is more than a "
        "thousand times narrower.",
        lambda inside, spread, widths: inside and spread[-1] * 1000 < widths[-1],
    ),
    "11.not_certifiable": Claim(
        "The network that saw random words is robust in truth on most texts, and its boxes "
        "certify next to none of them. The network that was trained on its boxes is certified on "
        "nearly all.",
        lambda chains: chains["random words"]["exact"] > 0.75
        and chains["random words"]["lower"] < 0.1 and chains["boxes"]["lower"] > 0.85,
    ),
    "11.collapsed": Claim(
        "Begun with wide vectors, this training ended with a network that gives next to all texts "
        "one answer: nearly everything that it gets right is certified, and it is worth no more "
        "than a constant answer.",
        lambda certified, right, commonest, majority: right - certified < 0.03
        and commonest > 0.97 and right <= majority + 0.03,
    ),
    "11.boxes_grow": Claim(
        "While the boxes grow from nothing to their full size, only the network that was trained "
        "on them keeps its certificates.",
        lambda curves: curves["boxes"][-1] > 0.85 and curves["random words"][-1] < 0.1
        and all(c[0] > 0.85 for c in curves.values()),
    ),
    "11.ceiling": Claim(
        "With every sample right the bound is alpha to the power 1/n, and with few samples it "
        "stays below 1/2.",
        lambda bounds, alpha: all(abs(b - alpha ** (1 / n)) < 1e-6 for n, b in bounds.items())
        and bounds[5] < 0.5 < bounds[20],
    ),
    "11.vote": Claim(
        "The vote over random words is certified on many more texts than the model alone is "
        "robust on, and some of them are texts where an attack breaks the model alone.",
        lambda certified, exact, broken: certified.mean() > exact.mean() + 0.1
        and (certified & broken).sum() >= 3,
    ),
    "11.ring": Claim(
        "With sets that reach further the samples of two neighbours overlap more and more is "
        "certified. Where the sets are the whole group, the overlap is 1 and costs nothing.",
        lambda overlap, certified: all(
            b >= a - 0.03 for a, b in zip(overlap, overlap[1:], strict=False))
        and overlap[0] < 0.7 and overlap[-1] > 0.99 and certified[0] < certified[-1] - 0.2,
    ),
    "11.two_samples": Claim(
        "Choosing the class and bounding it on the same samples, the bound is wrong more often "
        "than alpha, and the more classes the more so. With a second sample it keeps its promise.",
        lambda same, fresh, alpha: same[10] > 2 * alpha and same[10] >= same[2]
        and max(fresh.values()) < 1.5 * alpha,
    ),
    "11.noise": Claim(
        "With small noise all texts have the same radius, the ceiling. With large noise some reach "
        "further, and fewer are certified at all.",
        lambda radii, ceilings: (abs(radii[0.5] - ceilings[0.5]) < 1e-6).mean() > 0.7
        and max(radii[2.0]) > 1.2 * ceilings[0.5]
        and (radii[4.0] > 0).mean() < (radii[0.5] > 0).mean()
        and all((radii[s] <= ceilings[s] + 1e-9).all() for s in radii),
    ),
    "11.not_the_base": Claim(
        "PGD breaks the model alone on texts where the vote is certified for a ball of that size. "
        "That is no contradiction: they are two classifiers.",
        lambda certified, withstood: (certified & ~withstood).sum() >= 1,
    ),
    "11.canonical": Claim(
        "All variants of a text have one canonical form, so one pass decides them all, and with it "
        "more texts are robust than without.",
        lambda forms, certified, exact: set(forms) == {1} and certified > exact + 0.1,
    ),
    "11.merged": Claim(
        "With opposites in one set, all words of a set have one form, so no change within the sets "
        "turns an answer, and many of the answers are wrong.",
        lambda stable, right, before: stable and right < before - 0.2,
    ),
}  # fmt: skip
