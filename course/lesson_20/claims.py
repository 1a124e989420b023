"""What must come out on the page of lesson 20."""

from advlib.statistics import wilson
from course.claims import Claim


def never_rises(values):
    return all(b <= a for a, b in zip(values, values[1:], strict=False))


def _worked(models, judged):
    """Whether the numbers of the worked example are as the page says, each with its interval."""
    rows = {name: {row["name"]: row for row in found} for name, found in models.items()}
    intervals = all(abs(row["low"] - wilson(row["hits"], row["n"])[0]) < 1e-6
                    for found in models.values() for row in found)  # fmt: skip
    acc = {name: {key: row["accuracy"] for key, row in found.items()}
           for name, found in rows.items()}  # fmt: skip
    return (intervals and judged["n"] >= 50
            and acc["plain"]["attack"] < rows["plain"]["control"]["low"]
            and (rows["plain"]["random search"]["low"] < acc["plain"]["attack"]
                 < acc["plain"]["random search"] < acc["plain"]["attack"] + 0.1)
            and acc["patched"]["adaptive"] < acc["patched"]["attack"] - 0.2
            and acc["defended"]["worst"] > acc["patched"]["worst"] + 0.2)  # fmt: skip


CLAIMS = {
    "20.threat": Claim(
        "Read as Python, the repr is the same attack again; whether it keeps the label nobody has "
        "checked yet.",
        lambda again, unchecked: again and unchecked,
    ),
    "20.control": Claim(
        "The attack beats one random change by more than 20 points, and by more than the control's "
        "interval.",
        lambda gain, clear: gain > 0.2 and clear,
    ),
    "20.search": Claim(
        "It does not beat random search, whose limit for each text is the attack's average, and "
        "which asked about half as often. At the same limit for each text, from 5 to 80, random "
        "search leaves fewer texts.",
        lambda gain, clear, asked, curves: not clear and abs(gain) < 0.15
        and 0.35 < asked[1] / asked[0] < 0.65
        and all(chance < attack for attack, chance in zip(*curves, strict=True)),
    ),
    "20.worst": Claim(
        "The full search leaves fewer texts than the attack and than random search with its limit, "
        "and its curve still falls where it ends. The worst case is no higher than any of them.",
        lambda full, others, worst: full[-1] < full[-2] and full[-1] < min(others)
        and worst <= min(full[-1], *others),
    ),
    "20.order": Claim(
        "With the words in a random order the same search leaves more than 15 points more texts. "
        "With a second order it asks more than the attack, and leaves more than 5 points more.",
        lambda one, two, asked: one > 0.15 and two > 0.05 and asked[1] > asked[0],
    ),
    "20.best": Claim(
        "With more queries never more texts withstand; few queries do little, and 80 about as much "
        "as any number.",
        lambda hits, attack, clean: never_rises(hits) and hits[0] > 0.8 * clean
        and abs(hits[-1] - attack) <= 0.1 * clean,
    ),
    "20.patched": Claim(
        "With the defence on, the first attack takes hardly a text, where it took more than 30 "
        "points before, and nothing is lost without attack.",
        lambda clean, attack, before: clean > 0.95 and attack > clean - 0.05
        and before < attack - 0.3,
    ),
    "20.adaptive": Claim(
        "Who knows the defence takes more than 30 points that the first attack did not. The same "
        "attack leaves about as many texts (up to 10 points) to the model without a defence. The "
        "worst case is lower still, and about as low (up to 5 points) with the defence as without.",
        lambda naive, adaptive, undefended, worst: adaptive < naive - 0.3
        and abs(adaptive - undefended) < 0.1 and max(worst) < adaptive
        and abs(worst[0] - worst[1]) <= 0.05,
    ),
    "20.nothing": Claim(
        "Where two letters are read as one, no candidate of any word survives: the tokenizer reads "
        "every changed text like the original. Where three are, some survive.",
        lambda left, tried: left[2] == 0 < left[3] < tried,
    ),
    "20.defended": Claim(
        "No attack of the threat model changes one answer, at a price of at most 5 points without "
        "attack; slips of the keys hurt as much as before, up to 15 points.",
        lambda rows, same, other, clean: len({*rows}) == 1 and same == 1
        and rows[0] > clean - 0.05
        and abs(other["plain"] - other["2 letters are one"]) < 0.15
        and max(other.values()) < clean - 0.2,
    ),
    "20.repeat": Claim(
        "A fresh process finds the same digest of rows that differ, though it took another time; "
        "with the seconds sealed, it does not.",
        lambda equal, raw, seconds, hits: equal and not raw and seconds[0] != seconds[1]
        and len({*hits}) > 2,
    ),
    "20.kappa": Claim(
        "Two people who agree on 48 of 50 can have a kappa of about 0.",
        lambda kappa: abs(kappa) < 0.05,
    ),
    "20.corrected": Claim(
        "Where all labels are kept, the value is the measured one and its interval still reaches "
        "above it; the fewer are kept, the more texts withstand.",
        lambda spans, plain: abs(spans[50][0] - plain) < 1e-9 and spans[50][2] > plain
        and spans[50][0] < spans[45][0] < spans[25][0]
        and all(low <= value <= high for value, low, high in spans.values()),
    ),
    "20.worked": Claim(
        "On real questions, too: the attack beats one random change, random search not clearly; "
        "the adaptive attack takes more than 20 points that the first one left to the patched "
        "model; and the model trained on squeezed text keeps more than 20 points above that.",
        lambda models, judged: _worked(models, judged),
    ),
    "20.check": Claim(
        "Of a new folder the check names more than ten things. With this page's numbers nothing is "
        "said of the rows, and cards, judges and report are missing. With a smaller threat model "
        "it names rows that are no part of it.",
        lambda empty, missing, smaller: len(empty) > 10 and len(missing) < len(empty)
        and not any(" row" in sentence or "keep best" in sentence for sentence in missing)
        and any("is no part of the stated" in sentence for sentence in smaller)
        and all(any(part in sentence for sentence in missing)
                for part in ("card.json is missing", "judged by nobody", "README.md")),
    ),
}  # fmt: skip
