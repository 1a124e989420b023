"""The board: what may enter, who judges, what stays. What is refused is refused in one sentence."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import advlib
from advlib.app import board as boards
from advlib.app.board import (
    LICENCES,
    RULES,
    Board,
    Entry,
    Rules,
    files_hash,
    read_entry,
    verify,
    write_page,
)
from advlib.app.cli import app
from advlib.app.judge import THREATS, BoardError, check_code, judge, run_attack, unfair
from advlib.attacks import FGM, Typos, WordSubstitution
from advlib.attacks.words import KeepWords, NotAnotherWord
from advlib.data import texts_hash
from advlib.models import CHECKPOINTS

ROOT = Path(__file__).parents[1]
TEXTS = ["The speedy waiter was good and never rude.", "The film was dull."]
ATTACK = "from advlib.attacks import FGM\n\nattack = FGM(0.3)\n"


@pytest.fixture
def home(tmp_path):
    """A board with one defence, reviews-clean, and one attack, fgm, and no results."""
    for kind, name in (("defences", "reviews-clean"), ("attacks", "fgm")):
        shutil.copytree(ROOT / "board" / kind / name, tmp_path / "board" / kind / name)
    return tmp_path / "board"


def enter(home, kind, name, files=(), seal=True, **said):
    """An entry in its folder: those of `home` with other things said. files: name -> content."""
    old = {"defences": "reviews-clean", "attacks": "fgm"}[kind]
    folder = home / kind / name
    if not folder.exists():
        shutil.copytree(home / kind / old, folder)
    for path, content in dict(files).items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    entry = json.loads((folder / "entry.json").read_text()) | {"name": name} | said
    if seal and entry.get("model") in ("model", "reviews-clean", None):
        entry["sha256"] = files_hash(Entry(kind, folder, entry))
    entry = {key: value for key, value in entry.items() if value != "left out"}
    (folder / "entry.json").write_text(json.dumps(entry))
    return folder


@pytest.fixture
def weights(home):
    """A defence that brings its own weights, and is fine."""
    own = home / "defences" / "mine" / "model"
    own.mkdir(parents=True)
    for file in (CHECKPOINTS / "reviews-clean").iterdir():
        if file.name != "card.json":
            shutil.copy(file, own)
    shutil.copy(home / "defences" / "reviews-clean" / "entry.json", own.parent)
    return enter(home, "defences", "mine", model="model")


def refused(folder, why, rules=RULES):
    with pytest.raises(BoardError, match=why) as caught:
        read_entry(folder, rules)
    assert "\n" not in str(caught.value).strip() and len(str(caught.value)) < 500


# ---------------------------------------------------------------------- what may enter


def test_a_defence_with_its_own_weights_may_enter(weights):
    entry = read_entry(weights)
    assert entry.defence == (str(weights / "model"), None)


@pytest.mark.parametrize("name, content, why", [
    ("model/pytorch_model.bin", b"\x80\x04", "model/pytorch_model.bin has no place.*no pickle"),
    ("model/modeling.py", b"import os", "model/modeling.py has no place.*no code"),
    ("setup.py", b"import os", "setup.py has no place"),
    ("model/deeper/model.safetensors", b"", "model/deeper has no place"),
    ("model/model.safetensors", b"\x80\x04\x95not a tensor", "no safetensors file"),
    ("model/config.json", b'{"auto_map": {"AutoModel": "x.Y"}}', "auto_map"),
    ("entry.json", b" " * 50_000, "more than 40 kB"),
])  # fmt: skip
def test_files_that_have_no_place_are_refused(weights, name, content, why):
    (weights / name).parent.mkdir(exist_ok=True)
    (weights / name).write_bytes(content)
    refused(weights, why)


def test_weights_that_are_too_large_links_and_other_files_are_refused(weights, tmp_path):
    refused(weights, r"1\.7 MB, and 1 MB are the most", replace(RULES, size=1_000_000))
    vocab = weights / "model" / "vocab.txt"
    vocab.symlink_to("/etc/passwd")
    refused(weights, "vocab.txt is a link")
    vocab.unlink()
    file = weights / "model" / "model.safetensors"
    tensors = load_file(file)
    name = next(iter(tensors))
    save_file(tensors | {name: tensors[name] * float("nan")}, file, {"format": "pt"})
    refused(weights, "no finite numbers")
    save_file(tensors | {name: tensors[name] * 2}, file, {"format": "pt"})
    refused(weights, "the files are not those that entry.json names")
    file.unlink()
    refused(weights, "no weights")
    (tmp_path / "link").symlink_to(weights)
    refused(tmp_path / "link", "no place for an entry")
    refused(weights / ".." / ".." / "defences" / "mine", "no place for an entry")
    refused(weights.parent / "nobody", "there is no folder")


@pytest.mark.parametrize("said, why", [
    ({"contact": "left out"}, "lacks contact"),
    ({"stars": 5}, "has stars, which nobody asked for"),
    ({"contact": "me"}, "contact is 'me' and should be a mail address"),
    ({"who": "<b>\n"}, "who should be one line"),
    ({"who": 7}, "who is 7 and should be of another kind"),
    ({"licence": "mine"}, "licence is 'mine' and should be one of"),
    ({"date": "2999-01-01"}, "not in the future"),
    ({"date": "yesterday"}, "should be a day"),
    ({"board": 99}, "board is 99 and should be 1"),
    ({"model": "../../advlib/checkpoints/reviews-clean"}, "model is .* and should be 'model'"),
    ({"model": "someone/on-the-hub"}, "model is .* and should be 'model'"),
    ({"model": "model"}, "there is no folder model"),
    ({"read": "my_module.read"}, "read is .* should be null or one of canonical words"),
    ({"trained against": ["everything"]}, "trained against"),
    ({"sha256": "0" * 64}, "the files are not those"),
    ({"claim": {"clean": 0.9}}, "should hold clean and worst case"),
    ({"claim": {"clean": 0.9, "worst case": float("nan")}}, "claim"),
    ({"about": "good"}, "should say in a sentence"),
])  # fmt: skip
def test_a_defence_that_says_too_little_or_too_much_is_refused(home, said, why):
    sealed = "sha256" not in said and "model" not in said
    refused(enter(home, "defences", "other", seal=sealed, **said), why)


def test_an_entry_has_the_name_of_its_folder(home):
    folder = enter(home, "defences", "other")
    assert read_entry(folder).name == "other"
    refused(folder.rename(folder.with_name("another")), "name is 'other' and should be the folder")
    refused(folder.with_name("another").rename(folder.with_name("An other")), "no place for an")


@pytest.mark.parametrize("code, why", [
    ("import os\nattack = 1", "line 1: it imports os"),
    ("from subprocess import run\nattack = 1", "imports subprocess"),
    ("from . import x\nattack = 1", r"imports \."),
    ("from advlib.app import board\nattack = 1", "imports advlib.app"),
    ("from advlib import app\nattack = 1", "imports advlib.app"),
    ("attack = open('/etc/passwd')", "uses open"),
    ("attack = eval('1')", "uses eval"),
    ("import torch\nattack = torch.load('x')", r"uses \.load"),
    ("attack = ().__class__.__base__", "uses .__"),
    ("from torch import hub\nattack = hub", "uses hub"),
    ("from advlib.corpora import World\nWorld.label = lambda *a: 1\nattack = 1",
     r"line 2: it changes \.label of an object that is not its own"),
    ("class Attack: pass", "makes no `attack`"),
    ("attack = (", "is no Python"),
])  # fmt: skip
def test_code_that_no_attack_needs_is_refused(home, code, why):
    refused(enter(home, "attacks", "other", {"attack.py": code}), why)


def test_an_attack_is_two_files_with_a_known_threat_model(home):
    refused(enter(home, "attacks", "other", {"more.py": ""}), "more.py has no place")
    (home / "attacks" / "other" / "more.py").unlink()
    refused(enter(home, "attacks", "other", **{"threat model": "anything"}), "threat model is")
    refused(enter(home, "attacks", "third", sha256="1" * 64, seal=False), "files are not those")
    for own in (ROOT / "board" / "attacks").glob("*/attack.py"):
        check_code(own.read_text())


# ---------------------------------------------------------------------- the judge


@pytest.mark.parametrize("threat, new, why", [
    ("words", "The fast waiter was good and never rude.", None),
    ("typos", "The spedy waiter was good and never rude.", None),
    ("words and typos", "The fsat waiter was good and never rude.", None),
    ("words", "The spedy waiter was good and never rude.", "is not a known substitute$"),
    ("typos", "The fast waiter was good and never rude.", "is not one slip"),
    ("typos", "The spedy waietr was good and never rude.", "2 of its 8 words have a slip, and at"),
    ("typos", "The speedy waiter was good and nevr rude.", "'never' became 'nevr'"),
    ("typos", "The seedy waiter was good and never rude.", "another word of this world"),
    ("words and typos", "The speedy waiter was graet and never rude.", None),
    ("words and typos", "The speedy waiter was awful and never rude.", "'good' became 'awful'"),
    ("words", "The speedy waiter was good and never rude!", "spaces, signs or the number"),
    ("words", "The speedy waiter was good.", "spaces, signs or the number"),
    ("words", "The speedy\u200b waiter was good and never rude.", "spaces, signs"),
    ("words", 7, "handed back no text"),
    ("words", "x" * 30_000, "more than 20,000"),
])  # fmt: skip
def test_a_text_is_held_against_the_threat_model(threat, new, why):
    found = unfair(THREATS[threat], "reviews", TEXTS[0], 1, new)
    assert found is None if why is None else re.search(why, found), found


def test_the_label_is_read_again():
    """Substitutes keep it by construction; where they did not, the judge would see it."""
    assert unfair(THREATS["words"], "reviews", TEXTS[1], 0, TEXTS[1]) is None
    assert "label is 'negative'" in unfair(THREATS["words"], "reviews", TEXTS[1], 1, TEXTS[1])
    assert "cannot read" in unfair(THREATS["words"], "reviews", "A table.", 1, "A table.")


def test_what_the_librarys_attacks_make_is_within_the_threat_models():
    rows, victim = Rules(n=12).rows(), advlib.load_classifier("reviews-clean", device="cpu")
    typos = Typos(max_changed=0.2, constraints=(KeepWords(), NotAnotherWord("reviews")))
    for threat, attack in (("words", WordSubstitution()), ("typos", typos)):
        results = attack(victim, rows["text"], rows["label"])
        broken = judge(victim, threat, "reviews", rows["text"], rows["label"],
                       [r.text for r in results])  # fmt: skip
        assert broken == [not r.robust for r in results] and any(broken)
    with pytest.raises(BoardError, match=r"breaks its threat model \(words\) at text \d+: "):
        judge(victim, "words", "reviews", rows["text"], rows["label"], [r.text for r in results])
    with pytest.raises(BoardError, match="made 1 results of 12 texts"):
        judge(victim, "words", "reviews", rows["text"], rows["label"], [rows["text"][0]])


def test_no_slip_may_make_another_word():
    fair = NotAnotherWord("reviews")
    pairs = [(TEXTS[0], TEXTS[0].replace("speedy", word)) for word in ("spedy", "seedy", "speedy")]
    assert fair.allows(None, pairs) == [True, False, True]
    with pytest.raises(ValueError, match="no world"):
        NotAnotherWord("nowhere")


def test_delta_is_measured():
    victim = advlib.load_classifier("reviews-clean", device="cpu")
    labels, deltas = [1, 0], [None, None]
    for chosen, batch in victim.batches(TEXTS, labels):
        for row, i in enumerate(chosen):
            real = batch["attention_mask"][row].bool()
            deltas[i] = FGM(0.3)(victim.model, batch)[row][real]

    def judged(*found):
        return judge(victim, "embedding", "reviews", TEXTS, labels, found)

    zero = [torch.zeros_like(d) for d in deltas]
    assert judged(*zero) == [False, False], "the model is right on both"
    assert len(judged(*deltas)) == 2
    start = zero[0].clone()
    start[0, 0] = 1e-3
    refusals = ((deltas[0] * 1.01, "1.01 times as long"), (start, "special tokens"),
                (deltas[0][1:], "finite numbers and is"), (deltas[0] / 0, "finite"))  # fmt: skip
    for first, why in refusals:
        with pytest.raises(BoardError, match=rf"\(embedding\) at text 0: .*{why}"):
            judged(first, deltas[1])


def test_an_attack_that_rewrites_the_label_rule_gains_nothing(tmp_path):
    """Its process is its own: the judge's rule is as it was. The same attack writes outside."""
    file = tmp_path / "attack.py"
    file.write_text('''
from dataclasses import dataclass, replace
from advlib.attacks import WordSubstitution
from advlib.corpora import World
from advlib.app import judge

World.label = lambda self, text: 1
World.substitutes = lambda self, text: [("awful",)] * 8
judge.judge = judge.unfair = lambda *a: None

@dataclass(frozen=True)
class Liar:
    def __call__(self, victim, texts, labels):
        honest = WordSubstitution()(victim, texts, labels)
        return [replace(r, text=r.original.replace("good", "awful"), success=True) for r in honest]

attack = Liar()
''')
    name, found = run_attack(file, "words", ("reviews-clean", None, "reviews"), TEXTS[:1], [1], 300)
    assert name == "Liar()" and "awful" in found[0]
    victim = advlib.load_classifier("reviews-clean", device="cpu")
    with pytest.raises(BoardError, match="'good' became 'awful', which is not a known substitute"):
        judge(victim, "words", "reviews", TEXTS[:1], [1], found)


def test_an_attack_that_takes_too_long_is_ended(tmp_path):
    (tmp_path / "attack.py").write_text("while True: pass\nattack = 1\n")
    with pytest.raises(BoardError, match="more than 0.2 s of a processor"):
        run_attack(tmp_path / "attack.py", "words", ("reviews-clean", None, "reviews"), [], [], 0.2)


def test_a_table_that_shrinks_eps_is_refused():
    victim = advlib.load_classifier("reviews-clean", device="cpu")
    boards._check_unit(victim, TEXTS)
    used = np.unique([i for ids in victim.tokens(TEXTS)["input_ids"] for i in ids])
    with torch.no_grad():
        victim.model.get_input_embeddings().weight[used] *= 4
    with pytest.raises(BoardError, match="times as long as the mean of the table"):
        boards._check_unit(victim, TEXTS)


# ---------------------------------------------------------------------- what stays


@pytest.fixture
def measured(monkeypatch):
    """measured[attack] = the answers that a run gives, in place of models and attacks."""
    answers = {"none": "1111111110", "fgm": "1111100000", "pgd": "0000011111"}

    def measure(defence, attack, rows, rules):
        name = attack.name if attack else "none"
        result = {"board": rules.version, "defence": defence.name, "attack": name,
                  "files": [defence.said["sha256"], attack.said["sha256"] if attack else ""],
                  "settings": name, "n": 10, "texts": "t", "right": answers[name],
                  "date": "2026-11-29", "versions": {}, "seconds": 1.0}  # fmt: skip
        return result | {"digest": boards._sha256(result)}

    monkeypatch.setattr(boards, "measure", measure)
    monkeypatch.setattr(Rules, "rows", lambda self: None)
    return answers


def entered(home):
    """reviews-clean and fgm are on the board."""
    enter(home, "defences", "reviews-clean", claim={"clean": 0.9, "worst case": 0.5})
    return verify(home / "defences" / "reviews-clean", say=lambda *_: None)


def test_a_new_attack_lowers_the_worst_case_and_the_old_line_stays(home, measured, tmp_path):
    first = entered(home).lines
    assert [(line["clean"], line["worst case"], line["because"]) for line in first] == [
        (9, 5, "defence reviews-clean")]  # fmt: skip
    enter(home, "attacks", "pgd", claim={"reviews-clean": 0.5})
    found = verify(home / "attacks" / "pgd", say=lambda *_: None)
    assert found.lines[:1] == first and found.lines[1]["worst case"] == 0
    assert found.lines[1]["because"] == "attack pgd" and found.lines[1]["attacks"] == ["fgm", "pgd"]
    again = verify(home / "defences" / "reviews-clean", say=lambda *_: None)
    assert again.lines == found.lines, "its claim was about the attacks of its day"
    write_page(again, tmp_path / "board.md")
    page = (tmp_path / "board.md").read_text()
    assert "| 1 | reviews-clean |" in page and page.count(first[0]["digest"][:16]) == 1
    shutil.rmtree(home / "attacks" / "pgd")
    with pytest.raises(BoardError, match="results of pgd .* entries stay"):
        write_page(Board(home), tmp_path / "board.md")


def test_a_claim_far_from_the_rerun_is_refused_and_nothing_is_written(home, measured):
    enter(home, "defences", "reviews-clean", claim={"clean": 0.9, "worst case": 0.95})
    with pytest.raises(BoardError, match=r"claim for worst case is 95.0%.* gives 50.0% \[23.7%"):
        verify(home / "defences" / "reviews-clean", say=lambda *_: None)
    assert not (home / "lines.jsonl").exists() and not (home / "results").exists()
    entered(home)
    enter(home, "attacks", "pgd", claim={"nobody": 0.1})
    with pytest.raises(BoardError, match="'nobody', which is not on the board"):
        verify(home / "attacks" / "pgd", say=lambda *_: None)


def test_a_rerun_has_to_agree_with_what_is_on_record(home, measured):
    kept = entered(home)
    measured["fgm"] = "1111000000"
    with pytest.raises(BoardError, match="says otherwise on 1 of 10 texts, and 2% is the most"):
        verify(home / "defences" / "reviews-clean", say=lambda *_: None)
    loose = verify(home / "defences" / "reviews-clean", replace(RULES, agree=0.9), lambda *_: None)
    assert loose.results == kept.results and loose.lines == kept.lines, "the record stays"
    enter(home, "attacks", "fgm", {"attack.py": ATTACK + "# another\n"})
    with pytest.raises(BoardError, match="files are other than on record.*under another name"):
        verify(home / "attacks" / "fgm", say=lambda *_: None)


def test_results_and_lines_cannot_be_edited(home, measured):
    entered(home)
    file = home / "results" / "v1" / "reviews-clean" / "fgm.json"
    text = file.read_text()
    file.write_text(text.replace("1111100000", "1111111111"))
    with pytest.raises(BoardError, match="results are never edited"):
        Board(home)
    file.write_text(text)
    lines = home / "lines.jsonl"
    text = lines.read_text()
    lines.write_text(text.replace('"worst case": 5', '"worst case": 9'))
    with pytest.raises(BoardError, match="line 1 .* lines are added, and never changed"):
        Board(home)
    line = json.loads(text)
    line |= {"worst case": 6, "before": line["digest"]}
    line["digest"] = boards._sealed(line)
    lines.write_text(text + json.dumps(line) + "\n")
    with pytest.raises(BoardError, match="line 2 .* can only fall"):
        Board(home)
    line |= {"worst case": 4, "before": json.loads(text)["digest"]}
    line["digest"] = boards._sealed(line)
    lines.write_text(text + json.dumps(line) + "\n")
    with pytest.raises(BoardError, match="reviews-clean has another last line"):
        Board(home).check_whole()
    lines.write_text("")
    with pytest.raises(BoardError, match="run advlib board verify"):
        Board(home).check_whole()


def test_an_entry_is_run_for_real(home):
    """With few texts: a model meets an attack in a process of its own."""
    enter(home, "defences", "reviews-clean", claim={"clean": 1.0, "worst case": 0.6})
    found = verify(home / "defences" / "reviews-clean", Rules(n=8), lambda *_: None)
    (line,) = found.lines
    assert line["clean"] == 8 and line["worst case"] == found.of("reviews-clean")["fgm"][
        "right"].count("1") < 8  # fmt: skip
    assert found.of("reviews-clean")["fgm"]["settings"].startswith("FGM(eps=0.3, norm='l2'")
    shown = CliRunner().invoke(app, ["board", "--home", str(home)]).output
    assert "reviews-clean" in shown and line["digest"][:16] in shown


def test_the_command_refuses_with_a_sentence(home):
    folder = enter(home, "attacks", "other", {"attack.py": "import os\nattack = 1"})
    result = CliRunner().invoke(app, ["board", "verify", str(folder)])
    assert result.exit_code == 1
    assert str(result.exception.code).startswith("advlib: attack.py, line 1: it imports os")
    nowhere = CliRunner().invoke(app, ["board", "--home", str(home / "none")])
    assert "there is no board" in str(nowhere.exception.code)


# ---------------------------------------------------------------------- what the project shows


def test_the_page_is_the_one_that_the_files_give(tmp_path):
    found = Board(ROOT / "board")
    write_page(found, tmp_path / "board.md")
    assert (tmp_path / "board.md").read_text() == (ROOT / "docs" / "board.md").read_text(), (
        "docs/board.md is made by advlib board verify"
    )
    assert len(found.defences) >= 4 and len(found.attacks) >= 5
    fallen = {line["defence"] for line in found.lines for before in found.lines
              if line["defence"] == before["defence"] and line["worst case"] < before["worst case"]}
    assert fallen, "the attacks beyond the standard protocol lower at least one number"


def test_version_1_is_what_it_says():
    """Whoever changes one of these gives the board a new version."""
    assert (RULES.version, RULES.world, RULES.n) == (1, "reviews", 200)
    kept = {result["texts"] for result in Board(ROOT / "board").results.values()}
    assert kept == {texts_hash(RULES.rows())}
    models = [(t.substitutes, t.slips, t.eps) for t in THREATS.values()]
    assert models == [(True, 0, None), (False, 0.2, None), (True, 0.2, None), (False, 0, 0.3)]


def test_the_form_asks_for_what_an_entry_says():
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "board.yml").read_text())
    fields = {part.get("id"): part["attributes"] for part in form["body"]}
    assert tuple(fields["licence"]["options"]) == LICENCES
    assert fields["threat"]["options"] == list(THREATS)
    assert {"name", "who", "contact", "licence", "about", "sha256", "claim"} <= set(fields)


def test_the_workflow_gives_strangers_nothing():
    text = (ROOT / ".github" / "workflows" / "board.yml").read_text()
    flow = yaml.safe_load(text)
    assert set(flow[True]) == {"pull_request"} and "secrets" not in text.split("permissions")[1]
    assert flow[True]["pull_request"]["types"] == ["labeled"]
    assert flow["permissions"] == {"contents": "read"}
    (job,) = flow["jobs"].values()
    assert "run-board" in job["if"] and job["timeout-minutes"] <= 60
    assert job["steps"][0]["with"]["persist-credentials"] is False
    for step in job["steps"]:
        assert "${{" not in step.get("run", ""), "what a stranger wrote stays out of the shell"


@pytest.fixture
def fork(tmp_path):
    """A repository with a board on its main branch; `fork(change)` -> what the script says."""
    env = os.environ | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    for role in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{role}_NAME": "a", f"GIT_{role}_EMAIL": "a@b.org"}

    def git(*args):
        return subprocess.run(["git", *args], cwd=tmp_path, env=env, check=True,
                              capture_output=True, text=True).stdout.strip()  # fmt: skip

    for name in ("board/attacks/old/attack.py", "board/lines.jsonl", "docs/board.md", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1\n")
    git("init", "-q", "-b", "main")
    git("add", "."), git("commit", "-q", "-m", "base")

    def asked(change):
        git("checkout", "-q", "-B", "entry", "main")
        change(tmp_path)
        git("add", "."), git("commit", "-q", "-m", "entry")
        git("checkout", "-q", "main")
        done = subprocess.run([ROOT / "tools" / "board_entries.sh", "main", "entry"], cwd=tmp_path,
                              env=env, capture_output=True, text=True)  # fmt: skip
        staged = git("status", "--porcelain")
        git("reset", "-q", "--hard"), git("clean", "-q", "-fd")
        return done.stdout + done.stderr, staged

    return asked


def write(name, text="2\n", more=""):
    def change(folder):
        for file in filter(None, ("board/attacks/new/attack.py", name)):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text)
        for file in filter(None, more.split()):
            (folder / file).write_text("1\n2\n")

    return change


def test_a_pull_request_may_only_add_to_the_board(fork):
    good = write("board/results/v1/x/new.json", more="board/lines.jsonl docs/board.md")
    said, staged = fork(good)
    assert said == "board/attacks/new\n"
    assert staged.split() == ["A", "board/attacks/new/attack.py", "M", "board/lines.jsonl", "A",
                              "board/results/v1/x/new.json", "M", "docs/board.md"]  # fmt: skip
    bad = ("README.md", "board/attacks/old/attack.py", "advlib/app/board.py", "board/readme.md",
           ".github/workflows/board.yml", "board/attacks/a b/x", "board/attacks/ä/x")  # fmt: skip
    for name in bad:
        said, staged = fork(write(name))
        assert said.startswith("refused: an entry adds files to board/") and not staged, name
    assert fork(write("board/lines.jsonl"))[0].startswith("refused: lines of the history")

    def link(folder):
        write("")(folder)
        (folder / "board/attacks/new/entry.json").symlink_to("/etc/passwd")

    assert fork(link)[0].startswith("refused: there is a link")
    assert fork(lambda folder: (folder / "docs/board.md").write_text("2\n"))[0] == (
        "refused: there is no new entry\n"
    )
