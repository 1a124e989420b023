"""What must come out on the page of lesson 00."""

from course.claims import Claim

CLAIMS = {
    "00.one_word": Claim(
        "One changed word fools the model.",
        lambda success, changed: success and len(changed) == 1,
    ),
    "00.delectable": Claim(
        "Of all the substitutes, “delectable” alone fools the model.",
        lambda fooling: fooling == ["delectable"],
    ),
    "00.some_fall": Claim(
        "Some texts fall to one changed word, and most do not.",
        lambda fallen, right: 0 < fallen < right / 2,
    ),
    "00.kinds": Claim(
        "Words of opinion flip the model more often than the two other kinds together.",
        lambda flips: flips["opinion"] > flips["degree"] + flips["neutral"],
    ),
    "00.rare": Claim(
        "Rare words of opinion fool the model more often than common ones.",
        lambda rare, common: rare > common,
    ),
    "00.turned": Claim(
        "Every pair turns the opinion round, and the model does not notice every turn.",
        lambda true, says: (
            all(before != after for before, after in true)
            and any(before == after for before, after in says)
        ),
    ),
    "00.kept_by_one": Claim(
        "The one-word attack is fair: the label is kept in every text.",
        lambda kept: all(kept),
    ),
    "00.stronger": Claim(
        "A stronger attacker leaves less accuracy.",
        lambda clean, one_word, attacked: clean > one_word > attacked,
    ),
    "00.related": Claim(
        "Accuracy under attack is the clean accuracy times one minus the attack success rate.",
        lambda clean, attacked, success: abs(attacked - clean * (1 - success)) < 1e-6,
    ),
    "00.kept": Claim(
        "The attack with any number of words is fair too: the label is kept in every text.",
        lambda kept: all(kept),
    ),
    "00.other": Claim(
        "The other model can be fooled too.",
        lambda before, after: after < before,
    ),
}
