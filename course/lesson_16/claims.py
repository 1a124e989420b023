"""What must come out on the page of lesson 16."""

from course.claims import Claim

CLAIMS = {
    "16.model": Claim(
        "On questions as they are written the model is right nearly always, and on the worst "
        "intent, too.",
        lambda right, worst, least: right > least and worst > least - 0.25,
    ),
    "16.store": Claim(
        "With typos the store of words finds clearly less, and the store of trigrams about as much "
        "as before.",
        lambda found: found["unicode61", "with typos"] < found["unicode61", "as written"] - 0.04
        and found["trigram", "with typos"] > found["trigram", "as written"] - 0.05
        and found["trigram", "with typos"] > found["unicode61", "with typos"] + 0.08,
    ),
    "16.frame": Claim(
        "Where the trigram store's first row is wrong, it mostly has the trouble right.",
        lambda missed, trouble: trouble > missed / 2,
    ),
    "16.query": Claim(
        "Typed text as a query stops SQLite many times; your query never, and it is asked the same "
        "texts.",
        lambda broken, yours: broken > 3 and yours == 0,
    ),
    "16.pooling": Claim(
        "Pooled without the mask a question has another vector beside a long one; with the mask it "
        "has the same. Without it some questions find another first row in company than alone.",
        lambda plain, masked, other: masked < 1e-3 and plain > 20 * masked and other > 0.05,
    ),
    "16.fused": Claim(
        "Your fusion agrees with the sums by hand on all questions. Under typos the fused ranking "
        "is better than the trigrams alone, and not clearly worse than the vectors alone.",
        lambda apart, found: apart < 1e-9 and found["fused"] > found["trigrams"] + 0.03
        and found["fused"] > found["vectors"] - 0.04,
    ),
    "16.threshold": Claim(
        "The threshold chosen on clean questions answers nearly all of them. On typed ones more "
        "than 5 % of its answers are wrong.",
        lambda coverage, wrong: coverage > 0.95 and wrong > 0.06,
    ),
    "16.typed": Claim(
        "Chosen on typed questions the threshold misses 5 % on other typed questions by a few "
        "points at most, over five draws of slips, and more of them go to a person.",
        lambda wrong, handed, before: wrong < 0.1 and handed > before,
    ),
    "16.intents": Claim(
        "Over five draws the worst intent is wrong more often than the worst would be if questions "
        "were dealt to the intents at random.",
        lambda worst, chance: worst > chance,
    ),
    "16.looked_up": Claim(
        "Of the questions that are handed over, the trigram store has clearly more right than the "
        "model, and far more than 5 % wrong.",
        lambda model, store: store > model + 0.15 and store < 0.9,
    ),
    "16.strange": Claim(
        "Above the loose threshold the model answers many questions that are no bank's business. "
        "The second look stops nearly all of these, few of the clean ones, and more of the typed "
        "ones. Alone it does not keep the promise on typed questions; beside the strict threshold "
        "fewer of the answers are wrong.",
        lambda passed, wrong: passed["strange"]["loose"] > 0.3
        and passed["typed"]["loose"] - passed["typed"]["loose and near"]
        > passed["clean"]["loose"] - passed["clean"]["loose and near"]
        and passed["strange"]["loose and near"] < 0.1
        and passed["clean"]["loose and near"] > passed["clean"]["loose"] - 0.1
        and wrong["loose and near"] > 0.06
        and wrong["strict and near"] < min(wrong["loose and near"], wrong["strict"]),
    ),
    "16.attacked": Claim(
        "Under chosen typos that threshold's promise is broken by far, for the plain model, and no "
        "other threshold that answers more than a few questions would keep it.",
        lambda wrong, kept: wrong > 0.2 and kept < 0.1,
    ),
    "16.defences": Claim(
        "Training helps much against chosen typos, letters in front do as well, and both together "
        "help most.",
        lambda right: min(right["trained"], right["letters + plain"]) > right["plain"] + 0.2
        and right["letters + trained"] > max(right["trained"], right["letters + plain"]),
    ),
    "16.substitutes": Claim(
        "Against known substitutes both models have fewer right behind letters.",
        lambda right: right["letters + plain"] < right["plain"]
        and right["letters + trained"] < right["trained"],
    ),
    "16.poison": Claim(
        "Ten wrong rows of one source capture many questions by the nearest row or by a vote of "
        "rows, and none or few by a vote of sources. With a second source he captures some, with "
        "ten many; the more people have answered the past questions, the fewer. Without wrong rows "
        "votes are right more often than the nearest row.",
        lambda captured, of, by, before: of[1] < of[2] < of[3] < of[10] and by[5] > by[10] > by[20]
        and captured["vote of sources", 10] < captured["nearest row", 10] / 2
        and captured["vote of sources", 10] < captured["vote of rows", 10] / 2
        and captured["k sources", 10] > captured["vote of sources", 10] + 0.05
        and min(before["vote of rows"], before["vote of sources"]) > before["nearest row"],
    ),
    "16.quarantine": Claim(
        "In quarantine no row is found; confirmed by a second person it is.",
        lambda before, after: before == 0 and after > 0,
    ),
}
