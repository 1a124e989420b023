"""What must come out on the page of lesson 08."""

from course.claims import Claim

CLAIMS = {
    "08.before": Claim(
        "As it comes, the model loses more than 20 points of accuracy under PGD.",
        lambda clean, robust: robust < clean - 0.2,
    ),
    "08.openings": Claim(
        "The attack finds what the clean loss does not show, and after a few steps the openings on "
        "this batch are closed.",
        lambda history: history[0][1] > 2 * history[0][0] and history[-1][1] < 0.8 * history[0][1],
    ),
    "08.count": Claim(
        "Your evaluation and the library's count the same.",
        lambda yours, library: abs(yours - library) < 0.03,
    ),
    "08.sparring": Claim(
        "It is the sparring that helps against PGD, not the epochs.",
        lambda adversarial, standard, least: adversarial - standard > least,
    ),
    "08.price": Claim(
        "The price in clean accuracy is small.",
        lambda after, before: after > before - 0.08,
    ),
    "08.best-rate": Claim(
        "With its best learning rate every optimiser lowers the loss.",
        lambda losses, before: all(min(found) < before for found in losses.values()),
    ),
    "08.decay": Claim(
        "In so few steps AdamW's decay plays no part: it ends where Adam does.",
        lambda adam, adamw: max(abs(a - b) for a, b in zip(adam, adamw, strict=True)) < 0.05,
    ),
    "08.too-far": Claim(
        "Training against eps = 1 teaches less than the usual setting.",
        lambda far, usual: far < usual,
    ),
    "08.three-steps": Claim(
        "Three steps of the attack, too, teach more than no attack.",
        lambda three, none: three > none,
    ),
    "08.dropout": Claim(
        "Each push is stronger than the other one in the network for which it was made.",
        lambda without, with_mask: (
            without["eval mode"] > without["same dropout"]
            and with_mask["same dropout"] > with_mask["eval mode"]
        ),
    ),
    "08.mode": Claim(
        "The attack leaves the model in training mode, as it found it.",
        lambda training: training,
    ),
    "08.collapse": Claim(
        "Without a warm-up the model says the same to all; with one, or without attacks, it does "
        "not.",
        lambda shares: (
            shares["no warm-up"] > 0.9 and max(shares["warm-up"], shares["no attacks"]) < 0.85
        ),
    ),
    "08.by-heart": Claim(
        "The training texts are learned by heart.",
        lambda own, least: max(own) > least,
    ),
    "08.gap": Claim(
        "The gap between training and validation texts is wider at the end than at first.",
        lambda own, validation, least: (
            (own[-1] - validation[-1] + own[-2] - validation[-2]) / 2
            > own[0] - validation[0] + least
        ),
    ),
    "08.library": Claim(
        "The library makes your step: the two differ by less than a hundredth of its length.",
        lambda apart: apart < 0.01,
    ),
    "08.again": Claim(
        "Another run, and again it is above the control under PGD.",
        lambda robust, control, least: robust > control + least,
    ),
    "08.every-seed": Claim(
        "In each of the seven recorded seeds the usual sparring is ahead of its control, and of "
        "eps = 1.",
        lambda sparring, others: all(
            s > o for other in others.values() for s, o in zip(sparring, other, strict=True)
        ),
    ),
    "08.outside": Claim(
        "Replacements of a word lie outside the ball.",
        lambda distance, least: (distance > 0.3).float().mean() >= least,
    ),
    "08.elsewhere": Claim(
        "They lie in another direction than FGM's push.",
        lambda angle: angle.abs().median() < 0.3,
    ),
    "08.nearest": Claim(
        "The nearest two tokens lie apart by more than the bound: in the built-in world that is "
        "eps, so no text of other words lies in the ball; elsewhere it is 0.",
        lambda nearest, bound: nearest > bound,
    ),
    "08.synonyms": Claim(
        "No eps tells synonyms from opposites: a ball that holds nine of ten replacements holds "
        "many opposites.",
        lambda opposite, wide: (opposite < wide).float().mean() > 0.3,
    ),
    "08.words": Claim(
        "The two that met words withstand words better than the control (typos take a longer "
        "training: there they are not far behind it).",
        lambda under, margin: min(under["words"], under["both"]) > under["standard"] + margin,
    ),
    "08.both": Claim(
        "The one that met both withstands PGD better than the control (with the same allowance for "
        "typos).",
        lambda both, standard, margin: both > standard + margin,
    ),
    "08.in-turn": Claim(
        "Trained in turns, the model withstands the worst of three threats on more than seven "
        "texts of ten, the plain one on fewer than three.",
        lambda plain, robust: robust["worst case"] > 0.7 and plain["worst case"] < 0.3,
    ),
}
