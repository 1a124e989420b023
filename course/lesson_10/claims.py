"""What must come out on the page of lesson 10."""

import torch

from course.claims import Claim


def _boats(sea) -> bool:
    """Boats read: ahead of the three other ways, without attack and by 5 points under it."""
    for found in sea.values():
        others = [found[way] for way in ("pieces", "nothing", "reviews")]
        if not (
            found["boats"][0] > max(clean for clean, _ in others)
            and found["boats"][1] > max(attacked for _, attacked in others) + 0.05
        ):
            return False
    return True


def _race(means) -> bool:
    ahead = sorted(means[name][1] for name in means if name != "plain")
    return ahead[-1] - ahead[-2] < 0.05 and means["VAT"][1] > ahead[-1] - 0.1


def _work(means) -> bool:
    works = [means[name][2] for name in means if name != "plain"]
    return max(works) < 1.03 * min(works)


CLAIMS = {
    "10.vat": Claim(
        "Your four lines give the loss of the library's VAT.",
        lambda own, library: abs(own.item() - library.item()) < 1e-3,
    ),
    "10.work": Claim("All four had the same work, to 3 %.", _work),
    "10.race": Claim(
        "On the built-in world nobody is ahead of all others by 5 points under FGM, and VAT is "
        "less than 10 points below the best.",
        _race,
    ),
    "10.pieces": Claim(
        "The tokenizer has none of the new words as a whole.",
        lambda new, vocabulary: not set(new) & set(vocabulary),
    ),
    "10.kept": Claim(
        "Reading has left all old rows of the table as they were.",
        lambda before, after: all(torch.equal(rows, before) for rows in after.values()),
    ),
    "10.boats": Claim(
        "In both models reading boats beats the three other ways, without attack, and under FGM "
        "by more than 5 points.",
        _boats,
    ),
    "10.home": Claim(
        "Under FGM reviews-fgm stays more than 10 points below what it has on reviews.",
        lambda robust, home: robust["boats"][1] < home[1] - 0.1,
    ),
    "10.unread": Claim(
        "At first the loss on hidden words is more than twice as high on boats as on reviews: "
        "there is something to learn.",
        lambda losses: sum(losses["boats"][:5]) > 2 * sum(losses["reviews"][:5]),
    ),
    "10.peft": Claim(
        "Yours trains as many parameters as peft's, and with the same matrices it gives the same "
        "logits, which are not those without them.",
        lambda yours, theirs, apart, moved: yours == theirs and apart < 1e-3 < moved,
    ),
    "10.memory": Claim(
        "Gradients and AdamW's states take 12 bytes per trained parameter in every row, and LoRA "
        "keeps more than nine tenths of the activations of full training.",
        lambda held, trained: all(
            abs(parts["gradients"] + parts["AdamW"] - 12 * trained[kind])
            < 0.01 * 12 * trained[kind]
            for kind, parts in held.items()
        )
        and held["LoRA 1"]["activations"] > 0.9 * held["full"]["activations"],
    ),
    "10.hardened": Claim(
        "Full training raises accuracy under PGD, and LoRA of rank 1 ends more than two points "
        "above the head.",
        lambda hardened, delivered: hardened["full"][1] > delivered
        and hardened["LoRA 1"][1] > hardened["head only"][1] + 0.02,
    ),
    "10.share": Claim(
        "With a batch of 8 LoRA of rank 4 takes 25 to 35 % of the memory that full training of "
        "BERT-base takes (up to 50 % with the longer texts of the large profiles).",
        lambda small, whole, most: 0.25 < small / whole < most,
    ),
    "10.universal": Claim(
        "At length 0.4 one vector per direction leaves over 10 points fewer unseen texts right "
        "than a random vector; at 0.2 seen and unseen texts differ by less than 20 points; at 0.1 "
        "FGM, made for each text, is stronger.",
        lambda found: found["unseen"][2] < found["any vector"][2] - 0.1
        and found["FGM"][0] < found["unseen"][0]
        and abs(found["seen"][1] - found["unseen"][1]) < 0.2,
    ),
    "10.limit": Claim(
        "The chosen run keeps the limit on clean accuracy.",
        lambda clean, least: clean >= least,
    ),
}
