"""What must come out on the page of lesson 12."""

from itertools import pairwise

import torch

from course.claims import Claim


def _rescued(likeness, equal, zero) -> bool:
    """The loss's scale brings back the texts whose two predictions differ, and not the others."""
    good = likeness["half, loss scaled"] > 0.9
    return (
        good.sum() > (likeness["half"] > 0.9).sum() + 5
        and good[~equal].float().mean() > 0.9
        and good.float().mean() < 0.75
        and zero["half, loss scaled"].float().mean() > 0.2
    )


CLAIMS = {
    "12.formula": Claim(
        "In float32 and fp16 autograd keeps about what the formula says (0.8 to 1.35 times), and "
        "with checkpointing less than a quarter of what it keeps in float32.",
        lambda predicted, measured: all(
            0.8 < measured[kind] / predicted[kind] < 1.35 for kind in ("float32", "fp16")
        )
        and measured["checkpointing"] < 0.25 * measured["float32"],
    ),
    "12.peaks": Claim(
        "With one mask no attack keeps more than 1.15 times what plain training keeps; with "
        "dropout off in the attack it is about twice as much.",
        lambda peaks: all(
            peaks[name] < 1.15 * peaks["plain"]
            for name in ("FGM, one mask", "PGD-3, one mask", "FreeLB-3")
        )
        and 1.7 < peaks["FGM, dropout off"] / peaks["plain"] < 2.3,
    ),
    "12.estimate": Claim(
        "By this estimate FGM on 32 tokens takes less than ten minutes, which leaves room for "
        "everything else; 16 tokens hardly shorten it, since a unit takes 10 ms at least.",
        lambda short, planned: short > 0.9 * planned and planned < 10,
    ),
    "12.units": Claim(
        "The ledger counts the units that the table says, for every objective.",
        lambda table, counted, half: all(
            units <= counted[name] <= units + 2 * half for name, units in table.items()
        ),
    ),
    "12.skipped": Claim(
        "Some steps are skipped, each of them halves the scale, and then one is made.",
        lambda skipped, scales: 0 < skipped < 29
        and all(after == before / 2 for before, after in pairwise(scales)),
    ),
    "12.delta": Claim(
        "Under autocast FGM's delta is float32, has its full length, and points where float32's "
        "does.",
        lambda found, lengths, cosines: found.dtype == torch.float32
        and (lengths - 1).abs().max() < 1e-3
        and cosines.mean() > 0.99,
    ),
    "12.ours": Claim(
        "Under autocast advlib's direction is float32's for every text.",
        lambda likeness: likeness["advlib under autocast"].min() > 0.99,
    ),
    "12.lost": Claim(
        "Written by hand in half precision, most directions are lost.",
        lambda likeness: (likeness["half"] > 0.9).float().mean() < 0.4,
    ),
    "12.rescued": Claim(
        "Loss scaling brings back nearly all texts whose two predictions differ, and not the "
        "others: for more than a fifth of all texts delta stays zero.",
        _rescued,
    ),
    "12.padding": Claim(
        "Dynamic padding has less padding than a fixed width, and grouping by length less still.",
        lambda padding: padding["fixed 128"] > padding["dynamic"] > padding["grouped"],
    ),
    "12.accumulation": Claim(
        "Four times eight texts give the gradient of thirty-two.",
        lambda once, four: (once - four).norm() < 1e-3 * once.norm(),
    ),
    "12.run": Claim(
        "The run has made all its steps, and its clean loss has come down.",
        lambda made, steps, first, last: made == steps and last < first,
    ),
    "12.tracker": Claim(
        "The curves of the tracker have the numbers of the trainer's own log.",
        lambda curves, own: all(
            max(abs(curves[name][step] - value) for step, value in own[name].items()) < 1e-5
            for name in ("train/clean_loss", "train/lam", "eval/accuracy", "eval/robust_accuracy")
        ),
    ),
    "12.diagnose": Claim(
        "In twenty histories of each kind your rules name what was wrong.",
        lambda named: all(found == {kind} for kind, found in named.items()),
    ),
    "12.loop": Claim(
        "Five steps after your checkpoint both loops have the same weights, bit for bit.",
        lambda pairs: all(torch.equal(a, b) for a, b in pairs),
    ),
    "12.resumed": Claim(
        "The resumed run ends at the weights of the uninterrupted one, bit for bit.",
        lambda resumed, straight: torch.equal(resumed, straight),
    ),
    "12.search": Claim(
        "The file of the search has as many scored trials as were asked for.",
        lambda scored, asked: scored >= asked,
    ),
    "12.exchange": Claim(
        "Your step and the library's set off one exchange each and give the same gradient; the "
        "naive step gives another.",
        lambda exchanges, theirs, right, library, wrong: exchanges == theirs == 1
        and (right - library).norm() < 1e-3 * library.norm()
        and (wrong - right).norm() > 0.05 * right.norm(),
    ),
    "12.evaluated": Claim(
        "The digest is that of the numbers, and the worst case is above no row.",
        lambda verified, card: bool(verified)
        and card["worst case"]["accuracy"] <= min(row["accuracy"] for row in card["rows"]),
    ),
    "12.card": Claim(
        "There is a sentence for each row and one for the worst case, and the model card has the "
        "accuracy of every row.",
        lambda sentences, card, page: len(sentences) == len(card["rows"]) + 1
        and all(f"{row['accuracy']:.1%}" in page for row in card["rows"]),
    ),
    "12.pipeline": Claim(
        "The pipeline of transformers gives the labels that advlib gives.",
        lambda theirs, ours: theirs == ours,
    ),
}
