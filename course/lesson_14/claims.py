"""What must come out on the page of lesson 14."""

from course.claims import Claim


def gap_by_kind(by_kind):
    """Whether the gap is there under attack alone, no luck, and in the trained model smaller."""
    clean, attacked = by_kind["plain", "clean"], by_kind["plain", "FGM"]
    return (
        clean[0] < 0.15 and attacked[0] > 0.2 and attacked[1] < 0.01
        and by_kind["trained", "FGM"][0] < attacked[0] - 0.1
        and by_kind["trained", "FGM"][1] < 0.01
    )  # fmt: skip


def two_errors(let_out, wrongly):
    """Whether each filter fails in its own way."""
    return (
        let_out["all words", "as it is"] == 0 and let_out["all words", "typos"] > 0.8
        and let_out["near words", "typos"] < 0.05 and wrongly["near words", "ordinary"] > 0.03
        and let_out["learned", "typos"] < let_out["all words", "typos"] - 0.3
        and wrongly["all words", "ordinary"] == 0 and wrongly["learned", "ordinary"] < 0.1
        and wrongly["learned", "my dentist"] > 0.5
    )  # fmt: skip


CLAIMS = {
    "14.luck": Claim(
        "Fifteen groups of 40 texts that do not differ show a gap of more than 18 points in the "
        "middle world. Gaps as large as the two that were seen between domains come by chance in "
        "more than 2 % of worlds.",
        lambda luck, p: 18 < luck < 32 and min(p.values()) > 0.02,
    ),
    "14.kinds": Claim(
        "Without attack the kinds of text differ by a few points; under FGM the standard model "
        "loses the conceded ones, by far more than chance. In the trained model the gap is smaller "
        "in points, and still no luck.",
        gap_by_kind,
    ),
    "14.planted": Claim(
        "The model that nobody cured goes by the month: it is right clearly more often where "
        "the month agrees with the label than where it misleads. The standard model does not.",
        lambda agrees, against, flips, honest: agrees > against + 0.08 and flips > 0.08
        and honest < 0.02,
    ),
    "14.same": Claim(
        "Your loss and the library's are the same number, on eight texts.",
        lambda own, library: abs(own - library) < 1e-4 * (1 + library),
    ),
    "14.cures": Claim(
        "Blindness, augmentation and the penalty all make the answers nearly independent of the "
        "month. They win more where it misleads than they lose where it agrees.",
        lambda table: all(
            row["flips"] < min(0.08, table["as it is"]["flips"] / 2)
            and row["against"] > table["as it is"]["against"]
            and row["agrees"] + row["against"] > sum(
                table["as it is"][k] for k in ("agrees", "against"))
            for name, row in table.items() if name != "as it is"),
    ),
    "14.correlate": Claim(
        "The model that cannot see the month goes by the season: it is right more often where that "
        "agrees than without one, and less often where it misleads. Without one it does about as "
        "well as a coin.",
        lambda season: season["agrees"] - 0.1 > season["none"] > season["misleads"] + 0.1
        and abs(season["none"] - 0.5) < 0.1,
    ),
    "14.filter": Claim(
        "Every filter fails in a way of its own: the list at typos, the forgiving list by holding "
        "ordinary texts, the learned one by holding most texts with a dentist where a relative "
        "was.",
        two_errors,
    ),
    "14.coverage": Claim(
        "Without attack the promise of 90 % is kept up to the luck of the calibration set, and "
        "under both attacks it is broken by 20 points and more.",
        lambda inside: inside["clean", 0.1][0] > 0.84 and inside["clean", 0.02][0] > 0.94
        and inside["FGM", 0.1][0] < 0.7 and inside["other words", 0.1][0] < 0.7,
    ),
    "14.doubt": Claim(
        "Without attack a person who takes the least sure fifth leaves next to no mistakes. Under "
        "FGM that helps too: it saves the trained model, and leaves the standard one with many.",
        lambda at, all: at["plain", "clean"] < 0.01 and at["plain", "FGM"] > 0.1
        and at["plain", "FGM"] < all["plain", "FGM"]
        and at["trained", "FGM"] < 0.02 < all["plain", "FGM"],
    ),
    "14.flood": Claim(
        "A flood from one address costs a part of the time, since sources take turns; a flood from "
        "as many addresses as texts takes all of it.",
        lambda caught: caught["60 addresses"] < caught["one address"] <= caught["no flood"]
        and caught["60 addresses"] <= 2,
    ),
    "14.gate": Claim(
        "The policy refuses the card with at least three reasons.",
        lambda use: len(use) >= 3,
    ),
    "14.past": Claim(
        "An edited card is found out. A weak attack passes a bar that the same model did not pass "
        "before.",
        lambda said: bool(said["edited"] and said["as measured"]) and said["a weak attack"] == [],
    ),
}
