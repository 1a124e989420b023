"""What must come out on the page of lesson 06."""

import numpy as np

from course.claims import Claim


def _never_beaten(rows) -> bool:
    """Whether brute force finds all that the searches find, with no more changes.

    rows: (fewest, greedy, beam), None where the text is not fooled."""
    found = all(fewest is not None for fewest, greedy, beam in rows if greedy or beam)
    return found and all(
        steps >= row[0] for row in rows if row[0] is not None for steps in row[1:] if steps
    )


CLAIMS = {
    "06.fooled": Claim(
        "There is a text that three or more of the attacks can fool.",
        lambda hits: max(hits) >= 3,
    ),
    "06.pieces": Claim(
        "Every word with two letters swapped falls into two pieces or more.",
        lambda pieces: min(pieces) >= 2,
    ),
    "06.rulers": Claim(
        "In letters a typo is smaller than a word of the same opinion. In pieces it is larger, and "
        "its embedding lies further off than that of the opposite, by more than a fifth.",
        lambda typo, same, opposite: (
            typo[0] < same[0] and typo[2] > same[2] and typo[3] > 1.2 * opposite[3]
        ),
    ),
    "06.swaps": Claim(
        "Swapped letters alone fool the model on more than a fifth of the texts.",
        lambda rate: rate > 0.2,
    ),
    "06.forecast": Claim(
        "On random flips the forecast is better than chance and far from exact. The flips that it "
        "puts on top raise the score by more than random ones and than those at the bottom.",
        lambda ranks, highest, random, lowest: (
            0 < ranks < 0.8 and highest > random + 0.3 and highest > lowest + 0.3
        ),
    ),
    "06.bottom": Claim(
        "The bottom of the list is no mirror of its top: on average these flips raise the score, "
        "too. And the values themselves hardly correlate.",
        lambda lowest, values: lowest > 0 and values < 0.2,
    ),
    "06.library": Claim(
        "Your search ends at the same texts as the library's, but for one at most, and the library "
        "asks at least one query less per text.",
        lambda alike, texts, yours, library: (
            alike >= texts - 1 and np.mean(np.subtract(yours, library)) >= 1
        ),
    ),
    "06.trap": Claim(
        "Greedy ends below 0 here, though one of the four texts fools the model.",
        lambda greedy, best: greedy < 0 < best,
    ),
    "06.brute_force": Claim(
        "Brute force misses no text that greedy or beam search can fool, and never changes more "
        "words than they do.",
        _never_beaten,
    ),
    "06.greedy": Claim(
        "Greedy is not always optimal: on some texts it fails, or changes more words than needed.",
        lambda missed, longer: bool(missed or longer),
    ),
    "06.finds_a_way": Claim(
        "In the built-in world greedy finds a way wherever there is one.",
        lambda missed: not missed,
    ),
    "06.one_run": Claim(
        "For a share of words one run without limits tells the accuracy of an attack with the "
        "limit, to within a text. For queries it gives an upper bound.",
        lambda words, words_again, queries, queries_again, texts: (
            abs(words - words_again) < 1.5 / texts and queries >= queries_again
        ),
    ),
    "06.queries": Claim(
        "HotFlip, which has the gradient, asks the fewest queries.",
        lambda spent: min(spent, key=spent.get) == "HotFlip",
    ),
    "06.constraints": Claim(
        "Constraints make neither of the two attacks stronger.",
        lambda falls: min(falls.values()) >= 0,
    ),
    "06.kept": Claim(
        "Known substitutes keep the label always. Of the successes of the language model fewer "
        "than 30 % do, of those of the neighbours fewer than half; with constraints all do.",
        lambda kept, constrained: (
            kept["substitution"] == 1
            and kept["language model"] < 0.3
            and kept["neighbours"] < 0.5
            and all(constrained)
        ),
    ),
    "06.counterfeit": Claim(
        "No attack succeeds more often than the language model, and of none do fewer successes "
        "count. With constraints its success rate falls by more than 40 points.",
        lambda rates, kept, fall: (
            rates["language model"] == max(rates.values())
            and kept["language model"] == min(kept.values())
            and fall > 40
        ),
    ),
    "06.believer": Claim(
        "Who believes everything has a kappa of 0.",
        lambda kappa: kappa == 0,
    ),
    "06.cosine": Claim(
        "The cosine puts the pairs of the language model above those with typos.",
        lambda typos, language_model: typos < language_model,
    ),
    "06.order": Claim(
        "By the successes that count, substitution is ahead of the language model.",
        lambda rates: rates["language model"][1] < rates["substitution"][1],
    ),
}
