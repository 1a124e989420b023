"""A project's folder: the worked example passes, and each way to break it is named."""

from __future__ import annotations

import copy
import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel
from typer.testing import CliRunner

import advlib
from advlib.app.protocol import digest
from advlib.evaluation import attack_all
from advlib.statistics import wilson
from course import capstone
from course.cli import app
from course.lesson_20 import figures, workshop
from course.lesson_20.checks import Stretched, check_corrected

WORKED = Path(__file__).parents[1] / "examples" / "capstone"


@pytest.fixture
def folder(tmp_path):
    """A copy of the worked example, to break."""
    return shutil.copytree(WORKED, tmp_path / "project")


def edit(folder: Path, name: str, change) -> None:
    """Read JSON, change it in place, write it."""
    found = json.loads((folder / name).read_text("utf-8"))
    change(found)
    (folder / name).write_text(json.dumps(found), "utf-8")


def row(own: dict, model: str, name: str) -> dict:
    return next(r for r in own["models"][model] if r["name"] == name)


def counted(found: dict, hits: int, n: int | None = None) -> None:
    """Other hits, with all that follows from them."""
    n = n or found["n"]
    low, high = wilson(hits, n)
    found |= {"hits": hits, "n": n, "accuracy": hits / n, "low": low, "high": high}


def own(change):
    return lambda folder: edit(folder, "own.json", change)


def pairs(change):
    def broken(folder: Path) -> None:
        rows = capstone.read_pairs(folder / "pairs.csv")
        rows = change(rows) or rows
        with (folder / "pairs.csv").open("w", encoding="utf-8", newline="") as out:
            writer = csv.DictWriter(out, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    return broken


def report(old: str, new: str):
    def broken(folder: Path) -> None:
        text = (folder / "README.md").read_text("utf-8")
        assert old in text
        (folder / "README.md").write_text(text.replace(old, new), "utf-8")

    return broken


def emptied(heading: str):
    def broken(folder: Path) -> None:
        text = (folder / "README.md").read_text("utf-8")
        said = capstone.below(text, heading.lower())
        assert said
        (folder / "README.md").write_text(text.replace(said, "TODO"), "utf-8")

    return broken


def resealed(name: str, change):
    """A card that somebody edited, with a new digest."""

    def edited(card: dict) -> None:
        change(card)
        card["digest"] = digest(card)

    return lambda folder: edit(folder, f"{name}/card.json", edited)


def noise_is_worst(card: dict) -> None:
    pgd = next(r for r in card["rows"] if r["attack"] == "PGD")
    noise = next(r for r in card["rows"] if r["attack"] == "Noise")
    counted(noise, pgd["hits"] - 1)
    counted(card["worst case"], min(r["hits"] for r in card["rows"]))


def copied(folder: Path) -> None:
    shutil.copy(folder / "defended" / "card.json", folder / "again" / "card.json")


def second_judge(rows) -> None:
    for k, found in enumerate(rows):
        found["judge B"] = "no" if k == 0 else "yes"


def few_texts(found) -> None:
    for rows in found["models"].values():
        for r in rows:
            counted(r, r["hits"] * 40 // r["n"], 40)


BROKEN = [
    (lambda f: (f / "own.json").unlink(), "The file own.json is missing"),
    (lambda f: (f / "pairs.csv").unlink(), "The file pairs.csv is missing"),
    (lambda f: (f / "README.md").unlink(), "The file README.md is missing"),
    (lambda f: shutil.rmtree(f / "again"), "(evaluate the defended model a second time)"),
    (lambda f: (f / "own.json").write_text("{"), "own.json: it is no JSON"),
    (lambda f: (f / "own.json").write_text("[]"), "it must be an object in braces"),
    (lambda f: (f / "own.json").write_text('{"sentence": NaN}'), "NaN is no number"),
    (own(lambda o: o["pairs"].update(low=10**400)), "something else than pairs.csv gives"),
    (own(lambda o: o.update({"threat model": "what people type"})), "not the repr of an attack"),
    (own(lambda o: o.update({"threat model": "Stretched()"})), "not the repr of an attack"),
    (own(lambda o: o.update({"threat model": "PGD(eps=0.1)"})), "of the stated kind, PGD(…)"),
    (own(lambda o: o.update({"sentence": "Anything goes."})), "needs a sentence"),
    (own(lambda o: o.update({"sentence": "a a a a a a a a"})), "needs a sentence"),
    (own(lambda o: o.update({"threat model": "Stretched(times=(2,), max_changed=0.25)"})),
     "no part of the stated threat model: it has times=(3, 4, 5), and stated is times=(2,)"),
    (own(lambda o: o.update({"threat model": "Stretched(times=(2, 3, 4, 5), max_changed=0.1)"})),
     "it has max_changed=0.25, and stated is max_changed=0.1"),
    (own(lambda o: o.update({"threat model": "Stretched(times=(2, 3, 4, 5), max_changed=0.25, "
                                             "constraints=(KeepWords(),))"})), "no constraints"),
    (own(lambda o: o.update({"threat model": "Stretched(times=(2, 3, 4, 5), max_changed=0.25, "
                                             "max_queries=10)"})), "no max_queries"),
    (own(lambda o: o["models"].update(plain=[r for r in o["models"]["plain"]
                                             if r["name"] != "full search"])),
     "no row of the plain model searches the whole stated threat model"),
    (own(lambda o: row(o, "defended", "full search").update(
        {"threat model": "Random(Stretched(times=(2, 3, 4, 5), max_changed=0.25), max_queries=9)"}
    )), "no row of the defended model searches the whole"),
    (own(lambda o: row(o, "defended", "full search").update(
        {"threat model": "Stretched(times=(2, 3, 4, 5), max_changed=0.25, "
                         "constraints=(KeepWords(),))"})),
     "no row of the defended model searches the whole"),
    (own(lambda o: [b.update(hits=189) for b in o["keep best"]]), "are not of one attack"),
    (own(lambda o: o["models"].pop("defended")), "row “clean” of the defended model is missing"),
    (own(lambda o: o["models"].pop("defended")), "workshop.table makes all rows"),
    (own(lambda o: row(o, "plain", "clean").pop("hits")), "does not say how many texts"),
    (own(lambda o: row(o, "plain", "attack").update(low=0.1)), "not Wilson's"),
    (own(lambda o: row(o, "defended", "worst").update(accuracy=0.99)), "not Wilson's"),
    (own(lambda o: row(o, "patched", "worst").update(high=0.99)), "of the patched model has"),
    (own(lambda o: row(o, "plain", "control").pop("threat model")), "not name its threat model"),
    (own(lambda o: row(o, "defended", "attack").update({"threat model": "PGD(eps=0.1)"})),
     "met different attacks"),
    (own(lambda o: counted(row(o, "plain", "clean"), 90, 100)), "different numbers of texts"),
    (own(few_texts), "40 texts are too few"),
    (own(lambda o: counted(row(o, "plain", "attack"), row(o, "plain", "control")["hits"])),
     "does not beat its control"),
    (own(lambda o: counted(row(o, "defended", "attack"), row(o, "defended", "clean")["hits"] + 1)),
     "right more often under the attack"),
    (own(lambda o: counted(row(o, "defended", "attack"),
                           row(o, "defended", "adaptive")["hits"] - 1)), "weaker than the plain"),
    (own(lambda o: row(o, "defended", "adaptive").update(
        {"threat model": row(o, "defended", "attack")["threat model"]})), "plain attack again"),
    (own(lambda o: counted(row(o, "plain", "worst"), row(o, "plain", "attack")["hits"] + 1)),
     "so it is none"),
    (own(lambda o: o["keep best"][-1].update(hits=o["keep best"][0]["hits"] + 1)),
     "does not keep its best"),
    (own(lambda o: o["keep best"].reverse()), "do not rise"),
    (own(lambda o: o.update({"keep best": o["keep best"][:2]})), "three budgets"),
    (own(lambda o: o.pop("cost")), "cost is missing"),
    (own(lambda o: o.update(cost={"training": "3 hours"})), "must be a number of seconds"),
    (own(lambda o: o.update(cost={"training": 0})), "cost is missing"),
    (own(lambda o: o["pairs"].update(hits=o["pairs"]["hits"] - 1)), "else than pairs.csv"),
    (pairs(lambda rows: rows[:49]), "has 49 pairs"),
    (pairs(lambda rows: rows[:-1] + rows[:1]), "a pair twice"),
    (pairs(lambda rows: rows[0].update(changed=rows[0]["original"])), "nothing was changed"),
    (pairs(lambda rows: rows[3].update({"judge A": "maybe"})), "neither yes nor no"),
    (pairs(lambda rows: [{k: v for k, v in r.items() if k != "judge A"} for r in rows]),
     "judged by nobody"),
    (pairs(lambda rows: [{k: v for k, v in r.items() if k != "label"} for r in rows]),
     "column label is missing"),
    (pairs(second_judge), "judges 2"),
    (pairs(lambda rows: [r | {"judge B": ""} for r in rows]), "the column “judge B” is empty"),
    (own(lambda o: counted(row(o, "plain", "worst"),
                           row(o, "plain", "random search")["hits"] + 1)), "random search alone"),
    (lambda f: edit(f, "plain/card.json", lambda c: counted(c["rows"][0], 99)), "it was edited"),
    (resealed("plain", lambda c: c["rows"][0].update(low=0.0)), "do not fit together"),
    (resealed("plain", lambda c: c.update(protocol="text, eps = 0.1", version=99)), "version 99"),
    (resealed("plain", lambda c: c.pop("version")), "names no protocol and version"),
    (resealed("plain", noise_is_worst), "noise does more harm"),
    (resealed("plain", lambda c: c["data"].update(sha256="0" * 64)), "different texts"),
    (resealed("again", lambda c: c["model"].update(sha256="0" * 64)), "did not repeat"),
    (copied, "is a copy"),
    (emptied("Limits"), "nothing under “Limits”"),
    (emptied("Intended use"), "nothing under “Intended use”"),
    (emptied("Threat model"), "nothing under “Threat model”"),
    (resealed("defended", lambda c: c["model"].update(sha256="0" * 64)), "copy `digest`"),
    (emptied("Result"), "under “Result”"),
    (emptied("An honest failure"), "3 sentences and 40 words"),
    (lambda f: (f / "model.pt").write_bytes(b"PK"), "model.pt may be a pickle"),
    (lambda f: (f / "plain" / "data").write_bytes(b"\x80\x04\x95"), "plain/data may be a pickle"),
]  # fmt: skip


def test_the_worked_example_passes_and_says_what_a_reader_should_know():
    missing, notes = capstone.check(WORKED)
    assert missing == []
    assert notes[0].startswith("The attack does not beat random search")
    assert notes[1:] == ["One person judged the pairs, so nobody knows how far two would agree: a "
                     "second judge is missing."]  # fmt: skip


@pytest.mark.parametrize(("break_it", "said"), BROKEN, ids=[said for _, said in BROKEN])
def test_each_broken_folder_is_told_what_is_missing(folder, break_it, said):
    break_it(folder)
    missing, _ = capstone.check(folder)
    assert any(said in sentence for sentence in missing), missing


def test_random_search_is_a_note_and_no_duty(folder):
    """Where the attack is clearly ahead of it, nothing is said."""
    def said(change):
        own(change)(folder)
        missing, notes = capstone.check(folder)
        assert missing == []
        return [note for note in notes if "andom search" in note]

    def without(o):
        o["models"]["plain"] = [r for r in o["models"]["plain"] if r["name"] != "random search"]

    def set_to(hits):
        def change(o):
            without(o)
            chance = dict(row(o, "plain", "control"), name="random search")
            counted(chance, hits)
            o["models"]["plain"].append(chance)
        return change

    plain = json.loads((folder / "own.json").read_text("utf-8"))
    attack = row(plain, "plain", "attack")["hits"]
    assert "was not measured" in said(without)[0]
    assert "does not beat random search" in said(set_to(attack + 1))[0]
    assert said(set_to(attack + 40)) == []


def test_one_slip_is_not_called_ten(folder):
    own(lambda o: o.pop("cost"))(folder)
    assert len(capstone.check(folder)[0]) == 1


def test_a_new_folder_has_a_form_and_everything_is_missing(tmp_path):
    folder = capstone.start(tmp_path / "new")
    missing, notes = capstone.check(folder)
    assert {f.name for f in folder.iterdir()} == {"README.md", "own.json", "pairs.csv"}
    assert len(missing) > 10 and notes == []
    with pytest.raises(ValueError, match="there already"):
        capstone.start(folder)


def test_two_judges_are_compared(folder):
    rows = capstone.read_pairs(folder / "pairs.csv")
    second_judge(rows)
    found = capstone.judged(rows)
    assert found["judges"] == 2 and found["n"] == len(rows)
    assert capstone.kappa(["yes", "no"], ["yes", "no"]) == 1
    assert capstone.kappa(["yes", "no"], ["no", "yes"]) == -1
    assert capstone.kappa(["yes"] * 3, ["yes"] * 3) is None


def test_the_command_has_three_exit_codes(folder, tmp_path):
    def run(*command):
        return CliRunner().invoke(app, ["capstone", *map(str, command)])

    assert run("check", folder).exit_code == 0
    (folder / "own.json").unlink()
    done = run("check", folder)
    assert done.exit_code == 1 and "- The file own.json is missing." in done.output
    done = run("check", tmp_path / "nowhere")
    assert done.exit_code == 2 and "capstone start" in done.output
    done = run("start", tmp_path / "mine")
    assert done.exit_code == 0 and (tmp_path / "mine" / "README.md").is_file()
    assert run("start", tmp_path / "mine").exit_code == 1


def test_nothing_in_the_folder_is_run(folder):
    own(lambda o: o.update({"threat model": "__import__('os').abort(x=1)"}))(folder)
    assert any("not the repr" in said or "stated kind" in said
               for said in capstone.check(folder)[0])  # fmt: skip


@pytest.fixture(scope="module")
def bank():
    data = advlib.load_text("bank", train_size=1, test_size=12)["test"]
    return advlib.load_classifier("bank-clean"), data


def test_a_table_finds_what_the_model_itself_finds(bank):
    """Though it computes once what the model reads alike, and counts every query."""
    victim, data = bank
    attack = Stretched(times=(3, 5), max_changed=0.25)
    model = workshop.squeezed(victim, 3)
    for one in (victim, model):
        rows, found = workshop.table(one, data, {"attack": attack}, search="attack")
        plain = attack_all(one, data, attack)
        assert (found["attack"].attacked == plain.attacked).all()
        assert found["attack"].forward == plain.forward
        robust = {name: outcome.robust for name, outcome in found.items()}
        assert rows[-1]["hits"] == np.logical_and.reduce([*robust.values()]).sum()
    assert [row["name"] for row in rows] == ["clean", "attack", "random search", "worst"]


def test_a_table_refuses_a_model_with_other_labels_than_the_data(bank):
    """In the sentence of `advlib evaluate`; the numbers would be those of chance."""
    victim, data = bank
    names = sorted(victim.labels)
    assert names != victim.labels
    moved = data.map(lambda row: {"label": names.index(victim.labels[row["label"]])})
    moved = moved.cast_column("label", ClassLabel(names=names))
    with pytest.raises(ValueError, match="both need the same, in the same order"):
        workshop.table(victim, moved, {})
    assert workshop.table(victim, data, {})[0][0]["hits"] >= 11


def test_a_table_is_continued_and_searches_the_whole_threat_model(bank):
    victim, data = bank
    attack = Stretched(times=(3, 5), max_changed=0.25)
    threat = Stretched(times=(2, 3, 4, 5), max_changed=0.25)
    first = workshop.table(victim, data, {"attack": attack}, search="attack")
    rows, found = workshop.table(victim, data, {"threat": threat}, threat=threat, before=first)
    whole, _ = workshop.table(victim, data, {"attack": attack, "threat": threat}, search="attack",
                              threat=threat)  # fmt: skip
    order = ["clean", "attack", "random search", "threat", "full search", "worst"]
    assert [row["name"] for row in rows] == order
    assert {row["name"]: row for row in rows} == {row["name"]: row for row in whole}
    assert rows[-2]["threat model"] == f"Random({threat!r}, max_queries={workshop.MOST})"
    assert rows[-1]["hits"] <= min(row["hits"] for row in rows)
    assert len(first[0]) == 4 and len(first[1]) == 3  # what was given stays


def test_one_random_search_holds_the_shorter_ones(bank):
    victim, data = bank
    attack, budgets = Stretched(times=(3, 5), max_changed=0.25), (5, 10, 20)
    outcome = attack_all(victim, data, workshop.random_search(attack, 20))
    found = workshop.found_by(outcome, budgets)
    assert found == workshop.kept_best(victim, data, workshop.control(attack), budgets)
    assert found[-1]["hits"] == outcome.robust.sum()


def test_orders_that_are_tried_in_turn(bank):
    victim, data = bank
    attack = Stretched(times=(3, 5), max_changed=0.25)
    one, two = (attack_all(victim, data, workshop.shuffled(attack, seed)) for seed in (0, 1))
    assert not np.array_equal([r.text for r in one.results], [r.text for r in two.results])
    stands, asked = workshop.in_turn([one, two])
    assert (stands == (one.robust & two.robust)).all()
    costs = [a.queries + (b.queries - 1) * a.robust
             for a, b in zip(one.results, two.results, strict=True)]  # fmt: skip
    assert asked == np.mean(costs) > one.forward == workshop.in_turn([one])[1]


def test_gaps_that_are_still_open_are_counted(capsys):
    def half(first, second, clean, robust, n):
        kept = sum(a and b for a, b in zip(first, second, strict=True))
        least, most = wilson(kept, len(first))

        def value(s):
            raise NotImplementedError("Exercise 20.5")

        raise NotImplementedError("Exercise 20.5")

    with pytest.raises(NotImplementedError):
        check_corrected(half)
    assert "Filled: 1 of the 3 gaps" in capsys.readouterr().out


def test_a_model_that_remembers_asks_the_model_nothing_twice(bank):
    """From one table to the next, and with the same numbers."""
    victim, data = bank
    attacks, asked, counting = {"attack": Stretched(times=(3, 5))}, [], copy.copy(victim)
    counting.logits = lambda *given: asked.append(1) or victim.logits(*given)
    twin = workshop.remembering(counting)
    assert workshop.remembering(twin) is twin
    first, _ = workshop.table(twin, data, attacks, search="attack")
    calls = len(asked)
    again, _ = workshop.table(twin, data, attacks, search="attack")
    assert len(asked) == calls > 0
    assert first == again == workshop.table(victim, data, attacks, search="attack")[0]


def test_survivors_are_counted_one_changed_word_at_a_time(bank):
    victim, _ = bank
    attack = Stretched(times=(2, 3))
    texts = ["my card", "I need it"]  # "card", "need" and "it" may become two words each
    assert workshop.survivors(victim, attack, texts) == (6, 6)
    # "caard" and "iit" are read differently, and so are both of "need", which are read as "ned"
    assert workshop.survivors(workshop.squeezed(victim, 3), attack, texts) == (4, 6)
    assert workshop.survivors(workshop.squeezed(victim, 2), attack, texts) == (0, 6)


def test_a_random_order_changes_as_many_words_of_the_same_kind(bank):
    victim, data = bank
    attack = Stretched(times=(3, 5), max_changed=0.25)
    shuffled = workshop.shuffled(attack)
    outcome = attack_all(victim, data, shuffled)
    assert outcome.forward < attack_all(victim, data, attack).forward
    for result in outcome.results:
        old, new = result.original.split(), result.text.split()
        changed = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
        assert len(changed) <= 0.25 * len(old) + 1
        assert all(len(b) - len(a) in (2, 4) for a, b in changed)
    assert repr(shuffled) == f"Shuffled({attack!r}, seed=0)"


def test_the_simulated_judges_have_the_kappa_of_the_check():
    agree, kappa = figures.two_judges(0.95, 0.05, n=50, draws=300)
    rng = np.random.default_rng(0)
    truth = rng.random((300, 50)) < 0.95
    first, second = ((truth != (rng.random((300, 50)) < 0.05)).tolist() for _ in range(2))
    for k, (a, b) in enumerate(zip(first, second, strict=True)):
        right = capstone.kappa(a, b)
        assert np.isnan(kappa[k]) if right is None else abs(kappa[k] - right) < 1e-12
        assert agree[k] == np.mean(np.equal(a, b))
