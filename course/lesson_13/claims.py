"""What must come out on the page of lesson 13."""

import numpy as np

from course.claims import Claim
from course.lesson_13.explain import spread


def mean(found, name, method):
    return np.mean(found[name][method])


def together(found, name):
    """The mean AUC of the four maps."""
    return np.mean([mean(found, name, method) for method in found[name]])


CLAIMS = {
    "13.complete": Claim(
        "With 64 steps the numbers of all tokens add up to the change of the margin to within 2 %, "
        "for every model; with 4 steps more is missing.",
        lambda gaps: all(gap < 0.02 for (_, steps), gap in gaps.items() if steps == 64)
        and all(gaps[name, 4] > gaps[name, 64] for name, _ in gaps),
    ),
    "13.blank": Claim(
        "To the plain victim and the one trained on FGM the blank text is praise, with a margin of "
        "more than half of a text's; to the robust one it is nearly neutral.",
        lambda blanks, sizes: all(float(blanks[name].mean()) > 0.5 * sizes[name]
                                  for name in ("clean", "fgm"))
        and abs(float(blanks["robust"].mean())) < 0.15 * sizes["robust"],
    ),
    "13.found": Claim(
        "For every one of the three victims integrated gradients and occlusion find the causes "
        "better than attention does.",
        lambda found: all(
            min(mean(found, name, "integrated gradients"), mean(found, name, "occlusion"))
            > mean(found, name, "attention") + 0.04 for name in found),
    ),
    "13.blind": Claim(
        "Letters × place, which know no model, are within 0.06 of the best map of any victim, or "
        "ahead of it; attention is behind them for every victim, with an interval below 0.",
        lambda found, blind: all(
            mean(found, name, m) < np.mean(blind["letters × place"]) + 0.06
            for name in found for m in found[name])
        and all(d.mean() < -spread(d) for d in (
            np.subtract(found[name]["attention"], blind["letters × place"]) for name in found)),
    ),
    "13.trained": Claim(
        "The mean AUC of the four maps together is larger for the two victims that were trained "
        "against attacks (one model each; not every map gains).",
        lambda found: together(found, "clean") < together(found, "fgm")
        and together(found, "clean") + 0.02 < together(found, "robust"),
    ),
    "13.month": Claim(
        "The month reader is about as good as a coin. Gradient × input, integrated gradients and "
        "occlusion find its month, and the true causes less often by 0.1 at least; letters × place "
        "find those more often by 0.1 at least.",
        lambda right, causes, months, blind: 0.3 < right < 0.75
        and all(np.mean(months[m]) > max(0.75, np.mean(causes[m]) + 0.1)
                and np.mean(causes[m]) < np.mean(blind["letters × place"]) - 0.1
                for m in ("gradient × input", "integrated gradients", "occlusion")),
    ),
    "13.scrambled": Claim(
        "A random head leaves the attention map as it was. With all layers random, no map has much "
        "to do with the trained model's.",
        lambda agree: agree["attention"][1] > 0.999
        and all(agree[m][1] < 0.97 for m in agree if m != "attention")
        and all(abs(values[-1]) < 0.5 for values in agree.values()),
    ),
    "13.deleted": Claim(
        "With all opinions deleted the world has no label, and yet one of the two labels hardly "
        "loses probability; with opposites in their place both lose more than half.",
        lambda sure, labels, no_label, opposite: no_label == 1 and opposite == 1
        and max(sure["words deleted"][labels == y].mean() for y in (0, 1)) > 0.7
        and all(sure["words reversed"][labels == y].mean() < 0.5 for y in (0, 1)),
    ),
    "13.negated": Claim(
        "The plain victim reads not, never and far from before a word of blame as praise, in most "
        "of the sentences, and hardly and not particularly in almost none.",
        lambda read: min(read[kind] for kind in ("not", "never", "far from")) > 0.7
        and max(read[kind] for kind in ("hardly", "not particularly")) < 0.1,
    ),
    "13.fooled": Claim(
        "With the label and the prediction as they were, the attack moves the map much further "
        "than as many random substitutes do.",
        lambda attacked: all(
            np.mean([row[0] for row in rows]) < np.mean([row[1] for row in rows]) - 0.15
            and all(row[3] for row in rows) for rows in attacked.values()),
    ),
    "13.one_method": Claim(
        "Integrated gradients of the plain victim's attacked texts lose less than the map that was "
        "attacked, each against random substitutes of its own.",
        lambda attacked, other: np.mean([row[1] - row[0] for row in attacked["clean"]])
        > np.mean([row[1] - row[0] for row in other]) + 0.2,
    ),
    "13.seen": Claim(
        "The margins of both models go with the month where it is seen; where it is set, only the "
        "month reader's does. The world's label never does.",
        lambda seen, done, changed: min(seen.values()) > 2 and changed == 0
        and abs(done["clean"]) < 0.3 * seen["clean"]
        and done["month reader"] > 0.5 * seen["month reader"],
    ),
    "13.cures": Claim(
        "As the texts come, the month turns nearly all predictions, with all months redrawn hardly "
        "any. Where the month is any of the twelve, half a cure and a whole one are both right "
        "more often, by a tenth at least.",
        lambda cures: cures["all redrawn"]["turned by the month"] < 0.12
        and cures["as they come"]["turned by the month"] > 0.8
        and all(cures[name]["right, month random"]
                > cures["as they come"]["right, month random"] + 0.1
                for name in ("half redrawn", "all redrawn")),
    ),
    "13.edits": Claim(
        "The month reader turns for one word, the month. The world never turns by the month, and "
        "the plain victim needs no more words than the world does. On the twins the plain victim "
        "is right far more often than the month reader.",
        lambda sizes, on_twins: np.mean(sizes["month reader"], axis=0)[0] < 1.2
        and np.mean(sizes["month reader"], axis=0)[1] > 0.8
        and np.mean(sizes["the world"], axis=0)[1] == 0
        and np.mean(sizes["clean"], axis=0)[0] <= np.mean(sizes["the world"], axis=0)[0] + 0.1
        and on_twins["clean"] > on_twins["month reader"] + 0.2,
    ),
    "13.game": Claim(
        "Against two attacks a mixture of two defences is worth more than any one of them; with "
        "typos in the game there is a saddle point, and mixing is worth nothing.",
        lambda solved: all(np.max(B @ q) - np.min(p @ B) < 1e-6 for B, p, q, _ in solved.values())
        and solved[2][3] > solved[2][0].min(1).max() + 1
        and abs(solved[3][3] - solved[3][0].min(1).max()) < 1e-6,
    ),
    "13.fictitious": Claim(
        "The averages of fictitious play come closer to the equilibrium, and slowly.",
        lambda gap: gap[9] > gap[99] > gap[1999] > 0,
    ),
    "13.mixture": Claim(
        "On paper the mixture is worth more than either model. An attack on both at once leaves "
        "no more than the paper says. Against the best of four versions the mixture, asked once, "
        "keeps no more than one model alone does against the same versions, and asked 20 times "
        "less.",
        lambda single, value, mean, fair, survive: value > single + 0.02 and survive[0] <= mean
        and mean <= value and survive[0] < value and survive[0] <= fair
        and survive[-1] < fair - 0.05,
    ),
}  # fmt: skip
