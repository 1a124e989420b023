"""The gate: everything that is missing at once, from a card that anybody may have written."""

import copy
import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from advlib.app.cli import app
from advlib.app.gate import (
    HEADINGS,
    KEYS,
    Policy,
    Unreadable,
    gate,
    needed,
    read_card,
    read_policy,
    sections,
)
from advlib.app.protocol import digest, group_table, groups_digest, verify
from advlib.statistics import wilson

CONFIGS = Path(__file__).parents[1] / "configs"


def call(*arguments):
    found = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    return found.exit_code, found.output


def row(attack, hits, n, calibrated=None):
    low, high = wilson(hits, n)
    share = hits / n
    return {"attack": attack, "threat model": f"{attack}()" if attack != "none" else "none", "n": n,
            "hits": hits, "accuracy": share, "low": low, "high": high,
            "calibrated": share if calibrated is None else calibrated / n}  # fmt: skip


def sealed(card):
    card = card | {"digest": digest(card)}
    if "groups" in card:
        card["groups"] = {k: v for k, v in card["groups"].items() if k != "digest"}
        card["groups"]["digest"] = groups_digest(card)
    return card


def make_card(n=500, clean=490, attacked=(480, 450), worst=440, calibrated=435, groups=5):
    names = ["PGD", "Typos", "FGM"]
    card = {
        "protocol": "standard", "version": 3, "model": {"name": "mine", "sha256": "0" * 64},
        "data": {"name": "reviews", "n": n, "sha256": "1" * 64},
        "calibration": {"n": 500, "sha256": "2" * 64, "temperature": 1.5},
        "rows": [row("none", clean, n),
                 *(row(a, h, n) for a, h in zip(names, attacked, strict=False))],
        "worst case": row("worst case", worst, n, calibrated) | {"threat model": "any of these"},
        "left out": [], "versions": {},
    }  # fmt: skip
    if groups:
        order = np.arange(n)
        of = [f"g{i % groups}" for i in range(n)]
        card["groups"] = group_table("domain", list(order < clean), list(order < worst), of)
    return sealed(card)


POLICY = Policy(
    evaluation=dict(protocols=["standard"], attacks=["PGD", "Typos"], threat_models=2, left_out=0,
                    n=500, calibration=500, clean=0.95, worst_case=0.8, calibrated=0.8),
    groups=dict(column="domain", n=100, clean=0.8, worst_case=0.7),
    model_card=dict.fromkeys(HEADINGS, True), name="p.toml",
)  # fmt: skip
PAGE = """---
license: mit
---
# mine
## Use
- Meant for texts like those.
## Threat models
- `PGD`: eps = 0.3
## Limits
- Only these were measured.
## Contact
- mail@example.org
## Evidence
- Digest {digest}
"""


def page_of(card):
    return PAGE.replace("{digest}", card["digest"])


def lacks(card, policy=POLICY, page="own"):
    return gate(card, policy, page_of(card) if page == "own" else page)


def test_a_card_that_has_it_all_passes():
    assert lacks(make_card()) == []
    assert verify(make_card())


CHANGES = {
    "threat model": (
        lambda c: c["rows"][1].update({"threat model": ""}),
        "threat model is missing for “PGD”", 2),
    "threat model of blanks": (
        lambda c: c["rows"][1].update({"threat model": " "}),
        "threat model is missing for “PGD”", 2),
    "attack": (
        lambda c: c["rows"][1].update(attack="PDG"),
        "PGD was not measured.", 1),
    "left out": (
        lambda c: c["left out"].append("PGD(eps=0.3): no gradients"),
        "1 attacks were left out, and the policy allows 0", 1),
    "protocol": (
        lambda c: c.update(protocol="standard, without gradients"),
        "protocol is “standard, without gradients”", 1),
    "n": (
        lambda c: c["data"].pop("n"),
        "does not say how many test texts", 1),
    "calibration": (
        lambda c: c["calibration"].update(n=40),
        "40 calibration texts, and the policy asks for 500", 1),
    "no calibration": (
        lambda c: c.pop("calibration"),
        "how many calibration texts", 1),
    "no worst case": (
        lambda c: c.pop("worst case"),
        "The card has no worst case.", 3),
    "no rows": (
        lambda c: c.update(rows=[]),
        "nothing was measured", None),
    "warning": (
        lambda c: c.update(warning="Collapsed: 500 of 500 answers are “no”."),
        "The evaluation warns: Collapsed: 500 of 500", 1),
    "calibrated": (
        lambda c: c["worst case"].update(calibrated=0.5),
        "after calibration, 250 of 500 texts are right", 1),
    "odd share": (
        lambda c: c["worst case"].update(calibrated=0.8001),
        "after calibration, the card does not say", 1),
    "no groups": (
        lambda c: c.pop("groups"),
        "advlib evaluate --groups domain", 1),
    "column": (
        lambda c: c["groups"].update(column="city"),
        "groups are those of “city”", 1),
    "a row": (
        lambda c: c["rows"][1].update(n=490),
        "about 490 texts, and the card about 500", 2),
    "first row": (
        lambda c: c["rows"][0].update(attack="Noise"),
        "The first row of the card is not the one without attack", 2),
    "odd row": (
        lambda c: c["rows"].append(3),
        "One of the rows of the card is no row", 1),
    "interval": (
        lambda c: c["rows"][1].update(low=0.99),
        "numbers that do not fit together: 480 of 500 right is 96.0%", 1),
    "hits": (
        lambda c: c["rows"][1].update(hits=True),
        "“PGD” does not say how many texts are right", 1),
    "better": (
        lambda c: c["rows"].append(row("FGM", 300, 500)),
        "The worst case is better than one of its attacks", 1),
    "group": (
        lambda c: c["groups"]["rows"][0]["clean"].update(hits=7),
        "The numbers of the group “g0” are missing or do not fit", 1),
    "fewer groups": (
        lambda c: c["groups"]["rows"].pop(),
        "groups do not add up", 1),
    "more hits": (
        lambda c: c["groups"]["rows"][0].update(clean=row("g0", 100, 100)),
        "groups do not add up", 1),
    "no list": (
        lambda c: c["groups"].update(rows={}),
        "says nothing of groups", 1),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_each_thing_that_is_missing_is_a_sentence_of_its_own(name):
    """Also where a new digest was computed for the edited card."""
    change, words, count = CHANGES[name]
    card = copy.deepcopy(make_card())
    change(card)
    found = lacks(sealed(card))
    assert any(words in sentence for sentence in found), found
    assert count is None or len(found) == count, found
    if name != "no groups":  # nothing of it is left to compare
        assert any("not those of" in sentence for sentence in lacks(card))


def test_nothing_is_said_twice():
    card = make_card()
    card["rows"] = [*card["rows"], copy.deepcopy(card["rows"][1])]
    for row in card["rows"][1:]:
        row["hits"] += 1  # the same numbers, which do not fit, twice
    said = lacks(card)
    assert sum("do not fit" in sentence for sentence in said) and len(set(said)) == len(said)


def test_everything_is_said_at_once():
    card = make_card(n=60, clean=30, attacked=(20, 10), worst=10, calibrated=9, groups=5)
    card = sealed(card | {"warning": "No better than one answer: x.", "protocol": "other"})
    card["rows"][0]["accuracy"] = 0.9
    found = gate(card, POLICY, None)
    wanted = ["digest", "protocol is “other”", "60 test texts", "warns", "do not fit together",
              "Without attack, 30 of 60", "In the worst case, 10 of 60", "calibration, 9 of 60",
              "5 groups have fewer than 100", "Without attack, the lowest of 5 groups",
              "Attacked, the lowest of 5 groups", "name it with --model-card"]  # fmt: skip
    assert len(found) == len(wanted)
    for words in wanted:
        assert sum(words in sentence for sentence in found) == 1, words
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in found)


def test_a_bar_is_for_the_lower_end_of_the_interval():
    for hits in range(500):
        card = make_card(clean=500, attacked=(500,), worst=hits, groups=0)
        for bound, level in (("low", wilson(hits, 500)[0]), ("value", hits / 500)):
            policy = Policy(evaluation=dict(worst_case=0.6, bound=bound))
            assert bool(gate(card, policy)) == (level < 0.6), (hits, bound)
    few = make_card(n=10, clean=10, attacked=(10,), worst=10, groups=0)
    (said,) = gate(few, Policy(evaluation=dict(clean=0.9)))
    assert "10 of 10 texts are right, 100.0% [72.2%, 100.0%]" in said
    assert "10 texts cannot show that even if all are right, take 35 or more" in said
    assert gate(few, Policy(evaluation=dict(clean=0.9, bound="value"))) == []


@pytest.mark.parametrize("bar", [0.3, 0.5, 0.9, 0.95, 0.99])
def test_so_many_texts_are_needed(bar):
    n = needed(bar)
    assert wilson(n, n)[0] >= bar > wilson(n - 1, n - 1)[0]


def test_the_lowest_group_is_the_one_of_the_lowest_bound():
    """A small group may show less than a larger one of lower accuracy."""
    right = [1] * 12 + [1] * 85 + [0] * 15
    of = ["small"] * 12 + ["large"] * 100
    card = make_card(n=112, clean=97, attacked=(97,), worst=97, groups=0)
    card = sealed(card | {"groups": group_table("domain", right, right, of)})
    (said,) = gate(card, Policy(groups=dict(worst_case=0.76)))
    assert "the lowest of 2 groups, “small”, 12 of 12 texts" in said and "are below" not in said
    (said,) = gate(card, Policy(groups=dict(worst_case=0.8)))
    assert said.endswith("(2 of 2 groups are below that).")
    assert gate(card, Policy(groups=dict(worst_case=0.75))) == []


def test_edited_groups_are_seen_though_the_card_itself_is_whole():
    card = make_card()
    card["groups"]["rows"][0]["group"] = "other"
    assert lacks(card) == [
        "The numbers of the groups are not those of their digest: they were edited."]  # fmt: skip
    assert not verify(card)
    del card["groups"]
    assert verify(card)


def test_the_number_of_texts_is_no_other_protocol():
    card = sealed(make_card() | {"protocol": "standard, n = 500"})
    assert lacks(card) == []


def test_an_attack_that_was_left_out_says_why():
    card = make_card(attacked=(480,), worst=480, calibrated=480)
    card = sealed(card | {"left out": ["Typos(kinds=()): it has nothing to try"]})
    found = gate(card, Policy(evaluation=dict(attacks=["Typos"])))
    assert found == ["Typos was not measured and was left out: Typos(kinds=()): it has nothing to "
                     "try."]  # fmt: skip


# ---------------------------------------------------------------------- anything as a card

JUNK = [None, True, -1, 10**400, 1.5, "x", "\x1b[31m\u202e" * 50, [], [[]], {}, {"n": {}}, [None],
        {"rows": [{"group": []}]}]  # fmt: skip


def places(card, path=()):
    yield path
    inner = card.items() if isinstance(card, dict) else ()
    inner = enumerate(card) if isinstance(card, list) else inner
    for key, value in inner:
        yield from places(value, (*path, key))


def test_whatever_stands_in_a_card_the_gate_answers_in_lines():
    card = make_card(groups=2)
    for path in list(places(card))[1:]:
        for junk in JUNK:
            bad = copy.deepcopy(card)
            part = bad
            for key in path[:-1]:
                part = part[key]
            part[path[-1]] = copy.deepcopy(junk)
            for found in (lacks(bad, page=PAGE), lacks(bad | {"digest": "0"}, page=None)):
                for sentence in found:
                    assert sentence.isprintable() and len(sentence) < 700, (path, junk)
    for junk in ({}, {"rows": None}, {"digest": None}):
        assert gate(junk, POLICY, "") and gate(junk, Policy(evaluation=dict(n=1)))


@pytest.mark.parametrize(
    "content, words",
    [
        ("", "no JSON"), ("{", "no JSON"), ("[]", "it holds"), ("3", "it holds"),
        ('{"a": NaN}', "NaN is no number"), ('{"a": 1, "a": 2}', "twice"),
        ("[" * 100_000, "nested too deep"), ('{"a": 1e999}', None), (" " * 10_000_001, "10 MB"),
        (b"\xff\xfe", "UTF-8"), (None, "^[^:]*cannot be read"),
    ],
)  # fmt: skip
def test_a_card_that_is_none_cannot_be_read(content, words, tmp_path):
    file = tmp_path / "card.json"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    if words is None:
        assert len(gate(read_card(file), POLICY)) > 5
        return
    with pytest.raises(Unreadable, match=words) as error:
        read_card(file)
    assert str(error.value).isprintable() and len(str(error.value)) < 300


# ---------------------------------------------------------------------- policies


def policy_of(tmp_path, text):
    file = tmp_path / "own.toml"
    file.write_text(text, "utf-8")
    return read_policy(file)


@pytest.mark.parametrize("name", ["gate-strict.toml", "gate-course.toml"])
def test_the_policies_of_the_repository_are_policies(name):
    assert read_policy(CONFIGS / name).name == name
    page = (CONFIGS.parent / "docs" / "gate.md").read_text("utf-8")
    assert name in page


def test_every_key_is_documented():
    page = (CONFIGS.parent / "docs" / "gate.md").read_text("utf-8")
    for part, keys in KEYS.items():
        assert f"[{part}]" in page
        for key in keys:
            assert f"| `{key}`" in page, key


@pytest.mark.parametrize(
    "text, words",
    [
        ("[evaluation]\nn = 5\n[bars]\nx = 1", ["no part “bars”"]),
        ("[evaluation]\nworst = 0.5", ["no key “worst”: there are protocols, attacks"]),
        ("[evaluation]\nn = '500'", ["evaluation.n must be a whole number from 1 on"]),
        ("[evaluation]\nn = true", ["n must be a whole number"]),
        ("[evaluation]\nn = 0", ["n must be a whole number"]),
        ("[evaluation]\nclean = '0.9'", ["clean must be a share"]),
        ("[evaluation]\nclean = nan", ["clean must be a share"]),
        ("[evaluation]\nclean = 90", ["out of reach: write 0.9"]),
        ("[evaluation]\nclean = 1.0", ["out of reach"]),
        ("[evaluation]\nclean = inf", ["out of reach"]),
        ("[evaluation]\nclean = -0.1", ["asks for nothing"]),
        ("[evaluation]\nattacks = 'PGD'", ["attacks must be a list of names"]),
        ("[evaluation]\nattacks = []", ["attacks must be a list of names"]),
        ("[evaluation]\nprotocols = [3]", ["protocols must be a list of names"]),
        ("[evaluation]\nbound = 'high'\nn = 1", ['must be "low" or "value"']),
        ("[evaluation]\nallow_warning = 1\nn = 1", ["allow_warning must be true or false"]),
        ("[evaluation]\nn = 2026-01-01", ["n must be a whole number"]),
        ("evaluation = 3", ["evaluation must be a table"]),
        ("[model_card]\ncontact = 'me'", ["contact must be true or false"]),
        ("[groups]\ncolumn = ''", ["column must be a name"]),
        ("[evaluation]\nn = 20\nclean = 0.95", ["out of reach of 20 texts.*n = 73 or more"]),
        ("[groups]\nn = 10\nworst_case = 0.9", ["groups.worst_case = 0.9 is out of reach of 10"]),
        ("[evaluation]\nclean = 0.8\nworst_case = 0.9", ["worst_case = 0.9 is above clean = 0.8"]),
        ("[groups]\nclean = 0.5\nworst_case = 0.9", ["groups.worst_case = 0.9 is above clean"]),
        ("", ["asks for nothing"]),
        ("[evaluation]\nbound = 'low'\n[model_card]\nlimits = false", ["asks for nothing"]),
        ("[evaluation\n", ["is no TOML"]),
        ("[evaluation]\nn = 0\nworst = 1\nclean = 7\n[groups]\nm = 1",
         ["n must be", "no key “worst”", "write 0.07", "no key “m”"]),
    ],
)  # fmt: skip
def test_a_policy_that_makes_no_sense_is_refused_with_a_sentence_each(tmp_path, text, words):
    with pytest.raises(Unreadable) as error:
        policy_of(tmp_path, text)
    found = error.value.sentences
    assert len(found) == len(words), found
    for sentence, wanted in zip(found, words, strict=True):
        assert re.search(wanted, sentence) and sentence.startswith("own.toml"), sentence
        assert sentence.isprintable() and sentence.endswith(".")


def test_with_bound_value_no_number_of_texts_is_out_of_reach(tmp_path):
    policy = policy_of(tmp_path, "[evaluation]\nn = 20\nclean = 0.95\nbound = 'value'")
    assert not policy.low


# ---------------------------------------------------------------------- the model card


@pytest.mark.parametrize("key", HEADINGS)
@pytest.mark.parametrize("text", ["", "TODO", "- [More Information Needed]", "<!-- text -->", "…",
                                  "None.", "- **Contact:** "])  # fmt: skip
def test_a_heading_with_nothing_below_says_nothing(key, text):
    card, filled = make_card(), page_of(make_card())
    name = HEADINGS[key][0]
    head = {"threat_models": "Threat models", "limits": "Limits", "intended_use": "Use",
            "contact": "Contact"}[key]  # fmt: skip
    before, after = filled.split(f"## {head}\n")
    rest = after[after.index("\n## ") + 1 :]
    (said,) = lacks(card, page=f"{before}## {head}\n{text}\n{rest}")
    assert said == f"The model card says nothing under the heading “{name.capitalize()}”."
    (said,) = lacks(card, page=before + rest)
    assert name.capitalize() in said


def test_a_model_card_of_another_evaluation_is_refused():
    card, other = make_card(), make_card(worst=441)
    (said,) = lacks(card, page=page_of(other))
    assert "does not name the digest of this one" in said
    (said,) = gate(card, Policy(evaluation=dict(n=1)), page_of(other))
    hidden = page_of(other) + f"<!-- {card['digest']} -->"
    assert lacks(card, page=hidden) == lacks(card, page=page_of(other))


def test_headings_are_those_of_the_page_and_not_of_its_code():
    found = sections("""# A
## Limits
### Known
- x
## Contact #
<!-- -->
```
## Use
text
```
~~~~
```
## Other
~~~~
## Uses
## **Bias, Risks, and Limitations**
- y
""")
    assert found == {"a": True, "limits": True, "known": True, "contact": True, "uses": False,
                     "bias, risks, and limitations": True}  # fmt: skip
    assert sections("#hash\n#") == {}


# ---------------------------------------------------------------------- the command


@pytest.fixture
def files(tmp_path):
    def write(card=None, policy="[evaluation]\nn = 500\nclean = 0.9\n", page=None):
        card = make_card() if card is None else card
        (tmp_path / "card.json").write_text(json.dumps(card))
        (tmp_path / "p.toml").write_text(policy)
        (tmp_path / "README.md").write_text(page_of(card) if page is None else page)
        return tmp_path / "card.json", "--policy", tmp_path / "p.toml"

    return write


def test_exit_codes_are_those_that_are_documented(files, tmp_path):
    code, output = call("gate", *files(), "--model-card", tmp_path / "README.md")
    assert code == 0 and output.startswith("passed: mine has all that p.toml asks for")
    assert "lower end of 95 % intervals" in output
    low = make_card(clean=300, attacked=(300,), worst=300, calibrated=300)
    code, output = call("gate", *files(low, "[evaluation]\nclean = 0.9\nn = 600\n"))
    assert code == 1 and output.splitlines()[0] == (
        "refused: mine lacks 2 things that p.toml asks for")  # fmt: skip
    assert [said[:2] for said in output.splitlines()[1:]] == ["- ", "- "]
    code, output = call("gate", *files(policy="[evaluation]\nm = 1\nn = 0"))
    assert code == 2 and output.count("advlib: p.toml: evaluation") == 2
    files()
    (tmp_path / "card.json").write_text("{")
    (tmp_path / "p.toml").write_text("[x]")
    code, output = call("gate", tmp_path / "card.json", "--policy", tmp_path / "p.toml",
                        "--model-card", tmp_path / "none.md")  # fmt: skip
    assert code == 2 and len(output.splitlines()) == 3 and "Traceback" not in output
    assert call("gate", tmp_path / "card.json")[0] == 2  # no policy


def test_text_of_a_card_cannot_write_on_the_terminal(files):
    evil = "x\n- all is well\x1b[2J\u202e"
    card = make_card()
    card["model"]["name"] = card["rows"][1]["attack"] = evil
    card["protocol"] = card["groups"]["column"] = card["groups"]["rows"][0]["group"] = evil
    card = sealed(card | {"warning": evil, "left out": [evil]})
    policy = """[evaluation]
protocols = ["standard"]
attacks = ["PGD"]
left_out = 0
[groups]
column = "domain"
worst_case = 0.99
"""
    code, output = call("gate", *files(card, policy))
    assert code == 1 and all(c.isprintable() or c == "\n" for c in output)
    assert "\n- all is well" not in output and len(output.splitlines()) == 7

