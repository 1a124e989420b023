"""What must come out on the page of lesson 02."""

import torch

from course.claims import Claim

CLAIMS = {
    "02.rows": Claim(
        "One-hot rows times the table: the product picks rows of the table.",
        lambda product, picked: torch.allclose(product, picked, atol=1e-6),
    ),
    "02.next-id": Claim(
        "The next id is nearly as far away as a random other word.",
        lambda following, anywhere: following > 0.85 * anywhere,
    ),
    "02.refused": Claim(
        "PyTorch refuses both: a gradient for ids, and the embedding of a fraction.",
        lambda refused: len(refused) == 2,
    ),
    "02.long": Claim(
        "About half of the words become another word, each of them by a step down; rounded, all "
        "stay.",
        lambda changed, rounded, upwards: 0.4 < changed < 0.6 and rounded == 0 and upwards == 0,
    ),
    "02.integers": Claim(
        "Integers carry no gradient: the graph ends at .long().",
        lambda after: after is None,
    ),
    "02.two-ways": Claim(
        "The hook and inputs_embeds give the same logits.",
        lambda hooked, direct: torch.allclose(hooked, direct, atol=1e-4),
    ),
    "02.sum": Claim(
        "With a sum, the neighbours in the batch do not matter.",
        lambda apart: apart < 1e-3,
    ),
    "02.uphill": Claim(
        "A step along the gradient changes the loss more than three times as much as a random step "
        "of the same length.",
        lambda start, sideways, uphill: uphill - start > 3 * abs(sideways - start),
    ),
    "02.gaps": Claim(
        "At eps = 0.3 hardly any word has another word in reach; typical words lie further apart "
        "than 0.5.",
        lambda reach, gap: reach[0.3] < 0.05 and gap.median() > 0.5,
    ),
    "02.padding": Claim(
        "With attention_mask padding is not seen and has no gradient, and without it padding "
        "changes the answer; a random push leaves part of its length there.",
        lambda quiet, shaken, unmasked, on_padding, reached: (
            torch.allclose(shaken, quiet, atol=1e-5)
            and (unmasked - quiet).abs().max() > 0.01
            and on_padding.norm() == 0
            and reached < 0.8
        ),
    ),
    "02.special": Claim(
        "A step on the words more than doubles the loss, and even one on special tokens alone "
        "raises it.",
        lambda hit: hit["words"] > 2 * hit["none"] and hit["special only"] > hit["none"],
    ),
    "02.experiment-1": Claim(
        "Many words become other words, far away from them.",
        lambda went, jump, anywhere: went.double().mean() > 0.4 and jump > 0.7 * anywhere,
    ),
    "02.experiment-2": Claim(
        "What comes out does not ask for a gradient.",
        lambda after: not after,
    ),
    "02.experiment-3": Claim(
        "The labels make no difference, and no error says so.",
        lambda different, errors: different == 0 and not errors,
    ),
    "02.experiment-4": Claim(
        "Only two different tokens come out, and next to no word is kept.",
        lambda out, kept: len(out.unique()) == 2 and kept.double().mean() < 0.05,
    ),
    "02.experiment-5": Claim(
        "A smaller epsilon adds more, not less.",
        lambda spreads: spreads[0.001] > 50 * spreads[0.1],
    ),
    "02.experiment-6": Claim(
        "The noise strikes words, special tokens and padding alike.",
        lambda struck: min(struck.values()) > 0.3,
    ),
    "02.experiment-7": Claim(
        "Reading an item leaves gradients in the model's parameters.",
        lambda before, after: before == 0 < after,
    ),
    "02.experiment-8": Claim(
        "Equal probabilities have different losses.",
        lambda values: abs(values[0] - values[1]) > 1,
    ),
    "02.experiment-9": Claim(
        "An item cannot be sent to another process.",
        lambda said: said != "",
    ),
    "02.experiment-10": Claim(
        "There is one pass through the network for each text.",
        lambda sizes: sizes == [1] * 32,
    ),
    "02.experiment-11": Claim(
        "Main process and worker agree before the training, and no more after it.",
        lambda before, after: (
            abs(before[0] - before[1]) < 1e-4 and abs(after[0] - after[1]) > 1e-3
        ),
    ),
    "02.experiment-12": Claim(
        "Asked twice, the model gives two answers.",
        lambda answers: answers[0] != answers[1],
    ),
    "02.collated": Claim(
        "Padding counts as special.",
        lambda on_padding: bool((on_padding == 1).all()),
    ),
    "02.loop": Claim(
        "At every step delta stays within eps, the attack leaves no gradient in the parameters, "
        "and the loss at x + delta is above the loss at x.",
        lambda longest, radius, touched, harm: (
            max(longest) <= radius * 1.0001 and not any(touched) and min(harm) > 0
        ),
    ),
    "02.trained": Claim(
        "A few steps already lower the loss under attack.",
        lambda first, last: last < 0.9 * first,
    ),
}
