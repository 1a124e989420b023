"""What must come out on the page of lesson 18."""

import math

import numpy as np

from course.claims import Claim

CLAIMS = {
    "18.ndcg": Claim(
        "The best order has an NDCG of 1, the worst one is near 0, and equal scores lie between.",
        lambda best, worst, alike: math.isclose(best, 1) and worst < 0.1
        and worst < alike < 0.6,
    ),
    "18.popular": Claim(
        "On all items popularity alone is far better than the price, and among new items it is "
        "exactly chance.",
        lambda found: found["popularity alone"][0] > found["price alone"][0] + 0.08
        and math.isclose(found["popularity alone"][1], found["chance"][1]),
    ),
    "18.text": Claim(
        "The text adds little on all items, and much more among the new ones.",
        lambda found: found["all"][0] - found["all but the text"][0] < 0.08
        and found["all"][1] - found["all but the text"][1] > 0.1,
    ),
    "18.leak": Claim(
        "Two columns of the hasty table leak and none of the careful one. With them the test "
        "promises clearly more than the next day keeps; without them it does not.",
        lambda leaks, kept: leaks == {"hasty": ["liking", "activity"], "careful": []}
        and kept["hasty"][0] > kept["hasty"][1] + 0.06
        and abs(kept["careful"][0] - kept["careful"][1]) < 0.04
        and kept["hasty"][1] < kept["careful"][1] - 0.01,
    ),
    "18.reword": Claim(
        "Reworded bad items are seen by several times as many users as with random synonyms of "
        "the same number, by at least 3 per cent more, and by more than with one lie. "
        "`promote_text` reaches, in every item, the opinion of the library's `promote`, or at most "
        "0.02 less.",
        lambda earned, reached: all(a > b - 0.02 for a, b in reached)
        and earned["reworded"] > earned["random synonyms"] + 3
        and earned["reworded"] > 2.5 * earned["random synonyms"]
        and earned["reworded"] > earned["one lie"],
    ),
    "18.list": Claim(
        "In a list of all items that the user was not shown yet, rewording, stuffing and lies earn "
        "less than a quarter of what they earn in a list of new items.",
        lambda earned, less: all(less[how] < earned[how] / 4 for how in (
            "reworded", "stuffed", "one lie", "two lies")),
    ),
    "18.fgm": Claim(
        "Beside the text as it is, plain adversarial training, FGM on embeddings, leaves rewording "
        "less than half of the gain that it has with standard training, and two lies theirs, "
        "within 3 per cent.",
        lambda gains: gains.loc["reworded", "FGM"] < gains.loc["reworded", "clean"] / 2
        and abs(gains.loc["two lies", "FGM"] - gains.loc["two lies", "clean"]) < 3,
    ),
    "18.robust": Claim(
        "Training against words, too, leaves rewording next to nothing; words made equal leave it "
        "exactly nothing. Of the gain of stuffing each leaves at most three fifths.",
        lambda gains: gains.loc["reworded", "robust"] < 1.5
        and max(gains.loc["stuffed", ["robust", "equal"]]) < 0.6 * gains.loc["stuffed", "clean"]
        and all(abs(gains.loc[how, "equal"]) < 1e-9 for how in ("reworded", "random synonyms")),
    ),
    "18.lies": Claim(
        "Where words are made equal, two lies bring a bad item to more users than rewording does, "
        "by at least 2 per cent.",
        lambda table: table.loc["two lies", "equal"] > table.loc["reworded", "equal"] + 2,
    ),
    "18.cost": Claim(
        "No defence costs quality: the NDCG@10 of new items falls by at most 0.03.",
        lambda new_ones: min(new_ones.values()) > new_ones["clean"] - 0.03,
    ),
    "18.exact": Claim(
        "Of all rewordings of a short text the reader with equal words has one opinion. Those of "
        "the standard reader go from plain blame to one third and more. A lie moves the opinion "
        "of both.",
        lambda every, moved: every["equal"][0] > 1000 and every["equal"][1] == every["equal"][2]
        and every["clean"][1] < 0.1 and every["clean"][2] > 1 / 3
        and all(moved[name][1] > moved[name][0] + 0.2 for name in ("clean", "equal")),
    ),
    "18.start": Claim(
        "Two lies bring nearly every bad item to an opinion of 0.4, whoever reads. At that opinion "
        "fewer users see it where `robust` reads than where the others do, by at least 2 per "
        "cent; `robust` has the fewest old items near it, and no reader has 20. At the opinions "
        "0.25 and 0.7 the three shops differ by at most 4 per cent.",
        lambda lied, worth: all(np.mean([abs(x - 0.4) < 0.03 for x in found]) > 0.7
                                for found in lied.values())
        and worth.loc["robust", 0.4] < min(worth.loc[["clean", "equal"], 0.4]) - 2
        and worth.iloc[:, -1].idxmin() == "robust" and worth.iloc[:, -1].max() < 20
        and all(np.ptp(worth[x]) < 4 for x in (0.25, 0.7)),
    ),
    "18.invariant": Claim(
        "No single replacement changes the canonical form of a bad item's text, and a lie changes "
        "that of each.",
        lambda changed, tried, lied, items: tried > 100 and changed == 0 and lied == items > 0,
    ),
    "18.budget": Claim(
        "With more words the item comes among the first ten of many more users of the standard "
        "reader, and of no more with equal words.",
        lambda first_ten: first_ten["clean"][-1] > first_ten["clean"][0] + 0.08
        and len(set(first_ten["equal"].tolist())) == 1,
    ),
}
