"""What must come out on the page of lesson 07."""

from course.claims import Claim


def _rises(values: list) -> bool:
    return all(a < b for a, b in zip(values, values[1:], strict=False))


CLAIMS = {
    "07.disguise": Claim(
        "FGM and PGD cost the defended model hardly a text, and words hurt it less than the "
        "undefended one, which loses more than a fifth of the texts to PGD.",
        lambda undefended, defended: (
            min(defended[:3]) > undefended[0] - 0.05
            and undefended[2] < undefended[0] - 0.2
            and defended[3] > undefended[3]
        ),
    ),
    "07.vanished": Claim(
        "With the factor 100 the gradient of the cross-entropy is exactly 0 for more than 60 % of "
        "the texts; without a factor it is 0 for none.",
        lambda vanished, plain: vanished > 0.6 and (plain > 0).all(),
    ),
    "07.log_odds": Claim(
        "PGD on the log-odds brings the defended model to where the undefended one was: the "
        "robustness was not there.",
        lambda broken, undefended: abs(broken - undefended) < 0.05,
    ),
    "07.temperature": Claim(
        "Your T and the library's agree, and calibration takes the factor out again.",
        lambda T, library: abs(library / T[100] - 1) < 0.05 and abs(T[100] / T[1] / 100 - 1) < 0.05,
    ),
    "07.calibrated": Claim(
        "The factor lifts the accuracy under words by more than 5 points; after calibration it is "
        "that of the undefended model.",
        lambda undefended, sharpened, calibrated: (
            sharpened > undefended + 0.05 and abs(calibrated - undefended) < 0.05
        ),
    ),
    "07.blind": Claim(
        "At the largest factor, PGD on the cross-entropy leaves at least 20 points more than PGD "
        "on the log-odds, and than without a factor.",
        lambda accuracies, true: (
            accuracies[max(accuracies)] > max(true, accuracies[min(accuracies)]) + 0.2
        ),
    ),
    "07.idle": Claim(
        "The attack did nothing at all, at neither size, and the library refuses to report it.",
        lambda accuracies, refused: len(set(accuracies.values())) == 1 and refused,
    ),
    "07.straight_through": Claim(
        "A delta that was made for another model takes more than 20 points from the rounded one, "
        "and so does the gradient that goes straight through.",
        lambda transfer, through, clean: transfer < clean - 0.2 and through < clean - 0.2,
    ),
    "07.averaging": Claim(
        "A single draw points to less than 0.6 in the right direction, and each larger average "
        "points better.",
        lambda cosines: cosines[min(cosines)] < 0.6 and _rises(list(cosines.values())),
    ),
    "07.waves": Claim(
        "PGD with averaged gradients takes more than 15 points from what FGM with one draw left, "
        "and is no weaker than PGD with one draw.",
        lambda one_step, one_draw, averaged: (
            averaged < one_step - 0.15 and averaged <= one_draw + 0.05
        ),
    ),
    "07.conventions": Claim(
        "The conventions differ: fewer texts are right in all draws than in most.",
        lambda in_all, in_most: in_all < in_most,
    ),
    "07.detector": Claim(
        "Who keeps on gets more wrong answers past the detector than who stops at just enough, by "
        "more than 10 points.",
        lambda keeps_on, just_enough: keeps_on > just_enough + 0.1,
    ),
    "07.names": Claim(
        'The default "emb." matches no parameter of any of the four.',
        lambda matches: not any(matches.values()),
    ),
    "07.nothing": Claim(
        'With "emb." the loss stays what it was, with the right name it rises, for every model; '
        "with frozen embeddings it stays, too.",
        lambda nothing, real, frozen: (
            all(abs(rise) < 1e-6 for rise in nothing.values())
            and all(rise > 0 for rise in real.values())
            and frozen == 0
        ),
    ),
    "07.shared": Claim(
        "The larger the batch, the less each text is moved, and the better the model looks.",
        lambda shares: (
            shares[1][0] > 0.95 > shares[8][0] > shares[50][0] and shares[50][1] > shares[1][1]
        ),
    ),
    "07.trained": Claim(
        "The worst attack per text takes more than 10 points from what FGM left. At twice the eps "
        "PGD takes more than 20 points from what it left at the eps of the training.",
        lambda own, worst, pgd, twice: worst < own - 0.1 and twice < pgd - 0.2,
    ),
    "07.transfer": Claim(
        "Against each of the three, an attack that never saw the defence beats the naive one.",
        lambda table: all(transfer < naive for naive, transfer, _ in table.values()),
    ),
    "07.symptoms": Claim(
        "Claim 1: most texts survive even the huge eps, and for most the loss does not rise. Claim "
        "2: one step does as well as three. Claim 7: words beat PGD.",
        lambda far, stuck, one_step, three_steps, words, pgd: (
            far > 0.5 and stuck > 0.5 and one_step == three_steps and words < pgd
        ),
    ),
    "07.seven": Claim(
        "None of the seven numbers survives: each honest one is lower, by more than 2 points.",
        lambda claims: all(honest < reported - 0.02 for reported, honest in claims.values()),
    ),
    "07.gaps": Claim(
        "Each of the seven lacks an adaptive attack, and at least two things more.",
        lambda found: all(
            "no adaptive attack" in codes and len(codes) >= 3 for codes in found.values()
        ),
    ),
    "07.honest": Claim(
        "In this evaluation nothing is missing (but that a gradient may be beaten), and in the "
        "largest ball there is a mistake for nearly every text.",
        lambda found, largest: found in ([], ["gradient beaten"]) and largest <= 0.05,
    ),
}
