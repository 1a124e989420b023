"""What must come out on the page of lesson 05."""

from advlib.evaluation import wilson
from course.claims import Claim


def makes_up(sweep, slack):
    """FGM leads at small sizes, the generator makes up for it, and PGD is nowhere far above."""
    g, f, pgd = sweep["generator"], sweep["FGM"], sweep["PGD"]
    least = [min(pair) for pair in zip(g, f, strict=True)]
    return (
        g[0] > f[0] and g[-1] - f[-1] < g[0] - f[0] - 0.02
        and all(p <= low + 0.03 for p, low in zip(pgd[:-1], least[:-1], strict=True))
        and pgd[-1] <= least[-1] + slack
    )  # fmt: skip


CLAIMS = {
    "05.sources": Claim(
        "At equal size noise leaves far more texts right than FGM, and FGM more than PGD.",
        lambda right: right["noise"] > right["FGM"] + 0.2 and right["FGM"] > right["PGD"] + 0.05,
    ),
    "05.length": Claim(
        "All sources push this review by one and the same length.",
        lambda lengths, eps: all(abs(length - eps) < 0.02 * eps for length in lengths.values()),
    ),
    "05.small": Claim(
        "The generator has less than half as many weights as the victim.",
        lambda generator, victim: generator < 0.5 * victim,
    ),
    "05.blind": Claim(
        "The generator learned something that noise does not have; without training it is no "
        "better than noise. And the victim was not touched.",
        lambda noise, blind, untrained, untouched: blind < noise - 0.2
        and untrained > noise - 0.1 and untouched,
    ),
    "05.one_class": Claim(
        "The blind generator attacks one class and spares the other, far more than FGM does.",
        lambda gap: gap["blind generator"] > gap["FGM"] + 0.15,
    ),
    "05.told": Claim(
        "Told the label, the generator leaves fewer texts right.",
        lambda told, blind: told < blind - 0.05,
    ),
    "05.alike": Claim(
        "FGM's pushes are alike within a class, those of noise are not, and the generator's are "
        "more alike still. Yet it does more than two fixed arrows.",
        lambda alike, right: alike["noise"] < 0.1 < alike["FGM"] < alike["generator"]
        and right["generator"] < right["two arrows, equal lengths"] - 0.05,
    ),
    "05.where": Claim(
        "Where the generator pushes counts for much, which way it pushes there for little; and the "
        "class that the blind one spares is mostly made surer.",
        lambda right, surer: right["two arrows, generator's lengths"]
        < right["two arrows, equal lengths"] - 0.3
        and right["generator's directions, equal lengths"]
        > right["two arrows, equal lengths"] - 0.15
        and surer > 0.5,
    ),
    "05.equal_size": Claim(
        "The intervals of the generator and of noise do not overlap: the generator does more harm. "
        "PGD does more harm still.",
        lambda hits, n: wilson(hits["generator"], n)[1] < wilson(hits["noise"], n)[0]
        and hits["PGD"] < hits["generator"] - 0.05 * n,
    ),
    "05.sweep": Claim(
        "At a small size FGM is ahead of the generator, at a large one the generator makes up for "
        "it, and neither does clearly more harm than PGD.",
        lambda sweep, slack: makes_up(sweep, slack),
    ),
    "05.game": Claim(
        "The victim learns to resist the generator and has not forgotten its task, but PGD of the "
        "same size still breaks it.",
        lambda curves: curves["no attack"][-1] > curves["no attack"][0] - 0.2
        and max(curves["generator"][2:]) > curves["generator"][0] + 0.15
        and curves["PGD"][-1] < min(curves["generator"][-1] - 0.2, 0.4),
    ),
    "05.gradients": Claim(
        "The game makes the victim resist the first generator; against PGD at 0.6 eps the same "
        "rounds on gradients do more.",
        lambda before, game, control: game["first generator"] > before["first generator"] + 0.15
        and control["PGD at 0.6 eps"] > game["PGD at 0.6 eps"],
    ),
    "05.price": Claim(
        "The game costs clean accuracy, a fresh generator wins a part of the gain back, and "
        "against PGD at 0.6 eps nothing is gained.",
        lambda before, game: game["no attack"] < before["no attack"]
        and before["fresh generator"] < game["fresh generator"] < game["first generator"]
        and game["PGD at 0.6 eps"] < before["PGD at 0.6 eps"] + 0.05,
    ),
    "05.cost": Claim(
        "Once it is trained the generator takes the least time per text, and PGD takes the most.",
        lambda ms: ms["generator"] < ms["FGM"] < ms["PGD"],
    ),
    "05.break_even": Claim(
        "Counted in passes, the generator pays off sooner against PGD than against FGM.",
        lambda against_pgd, against_fgm: against_pgd < against_fgm,
    ),
    "05.other_models": Claim(
        "Every model B is good enough that there is something to fool.",
        lambda right: all(share > 0.75 for share in right.values()),
    ),
    "05.transfer": Claim(
        "Of the texts that the generator fooled on A, more than a fifth fool the sibling too.",
        lambda rate: rate > 0.2,
    ),
    "05.lead": Claim(
        "At the first size the generator's transfer rate is above PGD's on every model B.",
        lambda generator, pgd: all(generator[name] > pgd[name] for name in pgd),
    ),
}  # fmt: skip
