"""What is handed on: the model card, the ONNX file, and folders that other tools load."""

import copy
import hashlib
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from conftest import make_classifier
from typer.testing import CliRunner

import advlib
import advlib.app.deploy as deploy
import advlib.onnx
from advlib.app.cli import app
from advlib.app.deploy import TOLERANCE, export_onnx, load_onnx, model_card, write_card
from advlib.app.in_words import in_words
from advlib.app.protocol import Protocol, digest, evaluate
from advlib.attacks import FGM, PGD, EmbeddingNeighbours, Typos, WordSubstitution
from advlib.evaluation import MAJORITY

TINY = Protocol("tiny", 3, (FGM(0.3), WordSubstitution(max_changed=0.1)), 30, 60)
ODD = ["good", "", "  \n\t", "漢字 é 😀 Ünïcödé", "<b>bad</b> | `code`\x00", "dull " * 400]
LABELS = ["negative", "positive"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model as the package saves it."""
    home = tmp_path_factory.mktemp("models") / "mine"
    advlib.load_classifier("reviews-clean", device="cpu").save(home)
    return home


@pytest.fixture(scope="module")
def card(folder):
    return evaluate(folder, protocol=TINY, device="cpu")


@pytest.fixture(scope="module")
def exported(folder, tmp_path_factory):
    """What `advlib export` wrote and said."""
    out = tmp_path_factory.mktemp("exported")
    code, output = call("export", folder, "--out", out)
    assert code == 0, output
    return out, output


@pytest.fixture
def mine(folder, tmp_path):
    """A copy of the folder that a test may write to."""
    return shutil.copytree(folder, tmp_path / "mine")


def call(*arguments):
    found = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    return found.exit_code, found.output


def sealed(card, **changes):
    """The card with other names and a digest that fits, as whoever makes a card could write it."""
    card = copy.deepcopy(card)
    for path, value in changes.items():
        *parents, last = path.split("__")
        part = card
        for key in parents:
            part = part[int(key) if key.isdigit() else key]
        part[last] = value
    return card | {"digest": digest(card)}


def split(page):
    """Front matter and body."""
    _, front, body = page.split("---\n", 2)
    return yaml.safe_load(front), body


# ---------------------------------------------------------------------- the model card


def test_every_number_of_the_page_is_the_cards(card):
    front, body = split(model_card(card, LABELS))
    rows = [*card["rows"], card["worst case"]]
    metrics = front["model-index"][0]["results"][0]["metrics"]
    *metrics, score = metrics
    assert score["name"] == "macro-F1" and score["value"] == rows[0]["macro_f1"]
    assert len(metrics) == len(rows) == 4
    for row, metric in zip(rows, metrics, strict=True):
        assert metric["value"] == row["accuracy"]
        assert metric["args"] == {"threat model": row["threat model"], "n": 30,
                                  "95 % interval": [row["low"], row["high"]]}  # fmt: skip
        cells = [f"`{row['attack']}`", "30", str(row["hits"]),
                 f"{row['accuracy']:.1%} [{row['low']:.1%}, {row['high']:.1%}]",
                 f"{row['macro_f1']:.2f}", str(row["classes"]), f"{row['calibrated']:.1%}"]
        assert "| " + " | ".join(cells) + " |" in body
    for attack in TINY.attacks:
        said = f"- `{type(attack).__name__}`: {in_words(repr(attack))}"
        assert f"{said}\n  - exactly: `{attack!r}`\n" in body
    constant = card[MAJORITY]
    assert f"| `majority class` | 30 | {constant['hits']} | {constant['accuracy']:.1%} [" in body
    for said in (card["digest"], card["data"]["sha256"], card["model"]["sha256"], "`tiny`",
                 "`negative`, `positive`", f"temperature {card['calibration']['temperature']:g}",
                 *card["versions"].values()):  # fmt: skip
        assert said in body


def test_another_number_in_the_card_is_another_number_on_the_page(card):
    """So none of them is made up or taken from elsewhere."""
    page = model_card(card, LABELS)
    for path, value, shown in [
        ("rows__1__accuracy", 0.123, "12.3%"), ("rows__2__low", 0.0123, "1.2%"),
        ("rows__0__calibrated", 0.456, "45.6%"), ("worst case__high", 0.987, "98.7%"),
        ("rows__1__n", 4321, "4321"), ("calibration__temperature", 7.77, "7.77"),
    ]:  # fmt: skip
        assert shown not in page and shown in model_card(sealed(card, **{path: value}), LABELS)
    changed = dict(rows__1__accuracy=0.12, rows__1__low=0.11, rows__1__high=0.13, rows__1__n=4321)
    front, _ = split(model_card(sealed(card, **changed), LABELS))
    metric = front["model-index"][0]["results"][0]["metrics"][1]
    assert metric["value"] == 0.12 and metric["args"]["n"] == 4321
    assert metric["args"]["95 % interval"] == [0.11, 0.13]


def test_the_page_says_what_was_not_tested(card):
    _, body = split(model_card(card, LABELS))
    assert "Only the threat models above were measured" in body
    assert "`FGM`: a moved embedding is no text" in body
    assert "`WordSubstitution`: a search that" in body and "upper bound" in body
    left = "Typos(): the data are not the world 'news'"
    _, body = split(model_card(sealed(card, **{"left out": [left]}), LABELS))
    assert f"Left out: `{left}`" in body


def test_without_attacks_the_page_promises_nothing():
    page = model_card(evaluate("reviews-clean", protocol=Protocol("clean", 1, (), 9, 20)), LABELS)
    front, body = split(page)
    assert len(front["model-index"][0]["results"][0]["metrics"]) == 2  # and macro-F1
    assert "None: only clean accuracy" in body and "may be attacked" not in body
    assert "no text" not in body


def test_front_matter_is_what_the_hub_reads_and_holds_nothing_that_nobody_said(card):
    from huggingface_hub import ModelCard

    front, _ = split(model_card(card, LABELS))
    assert front["pipeline_tag"] == "text-classification"
    assert not {"license", "base_model", "language"} & set(front)
    page = model_card(card, LABELS, license="mit", base_model="google/bert", language="en")
    found = ModelCard(page).data
    assert (found.license, found.base_model, found.language) == ("mit", "google/bert", "en")
    assert [r.metric_name for r in found.eval_results].count("accuracy") == 1
    results = {r.metric_name: r.metric_value for r in found.eval_results}
    assert results["accuracy"] == card["rows"][0]["accuracy"] and found.model_name == "mine"


def test_contact_use_and_groups_stand_on_the_page_and_the_gate_finds_them(card):
    from advlib.app.gate import HEADINGS, Policy, gate
    from advlib.app.protocol import group_table, groups_digest

    policy = Policy(model_card=dict.fromkeys(HEADINGS, True))
    page = model_card(card, LABELS)
    assert gate(card, policy, page) == ["The model card says nothing under the heading “Contact”."]
    assert "groups of people (bias)" in page and "## Groups" not in page
    page = model_card(card, LABELS, contact="mail@<b>example", use="*reviews* only")
    assert gate(card, policy, page) == []
    assert "- `mail@<b>example`" in page and "- Meant for: &#42;reviews&#42; only" in page
    n, of = card["data"]["n"], ["a|b", "<i>"] * 15
    hits = [card["rows"][0]["hits"], card["worst case"]["hits"]]
    found = card | {"groups": group_table("x`y", *([i < k for i in range(n)] for k in hits), of)}
    found["groups"]["digest"] = groups_digest(found)
    page = model_card(found, LABELS, contact="me")
    assert gate(found, policy, page) == []
    assert "## Groups" in page and "| `a¦b` | 15 | " in page and "| ``x`y`` | n |" in page
    assert "groups of people" not in page
    found["groups"]["rows"][0]["n"] = 16
    with pytest.raises(ValueError, match="not the card of an evaluation"):
        model_card(found, LABELS)


HOSTILE = ["a|b", "`x` ``y", "<script>alert(1)</script>", "[a](javascript:x)", "x\n---\n# Owned",
           "license: mit\nlicense: evil", "*b* _i_ ![p](http://x/y.png)", "\u202eevil\u202c", "",
           "{{ 7 * 7 }}", "\x1b[31mred"]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_is_never_markup(card, text):
    from markdown_it import MarkdownIt

    evil = sealed(card, model__name=text, data__name=text, rows__1__attack=text,
                  warning=f"{text}: always “{text}”; {text}.",
                  **{"rows__1__threat model": text, "left out": [text]})  # fmt: skip
    page = model_card(evil, [text, "fine"], {text: text})
    front, body = split(page)
    assert set(front) == set(split(model_card(card, LABELS))[0])
    line = "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))
    assert front["model-index"][0]["name"] == line
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    inner = [t for token in tokens if token.type == "inline" for t in token.children]
    kinds = {t.type for t in [*tokens, *inner]}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "hr", "code_block"}
    # Twice in the table's row and threat model's line: the name stands there, letter by letter.
    spans = [t.content for t in inner if t.type == "code_inline"]
    shown = line or "(empty)"
    assert spans[0] == shown and shown.replace("|", "¦") in spans and spans.count(shown) >= 6
    heads = [t for t in tokens if t.type == "heading_open"]
    clean = MarkdownIt("commonmark").parse(split(model_card(card, LABELS))[1])
    assert len(heads) == len([t for t in clean if t.type == "heading_open"])
    rows = [len(r.strip("|").split("|")) for r in body.splitlines() if r.startswith("|")]
    assert len(rows) == 7 and set(rows) == {8}
    assert page.isprintable() or all(c.isprintable() or c == "\n" for c in page)


def test_the_card_of_a_collapsed_model_says_so_first(mine):
    victim = advlib.load_classifier(mine, device="cpu")
    with torch.no_grad():
        victim.model.classifier.weight *= 1e-3
        victim.model.classifier.bias.copy_(torch.tensor([0.0, 1.0]))
    victim.save(mine)
    card = evaluate(mine, protocol=TINY, device="cpu")
    front, body = split(write_card(mine, card).read_text("utf-8"))
    first = body.strip().splitlines()[2]
    assert first.startswith("**Collapsed:** 30 of 30 answers are “positive”; 5")
    assert body.count("| 1 | 5") == 5  # one class in every row, and that is the majority's share
    assert "Always the most frequent class: 5" in body
    scores = {m["name"]: m["value"] for m in front["model-index"][0]["results"][0]["metrics"]}
    assert scores["macro-F1"] < 0.4


def test_many_and_long_class_names_are_cut(card):
    _, body = split(model_card(card, [f"class {i} " + "x" * 99 for i in range(77)]))
    assert "x…`, `65 more`" in body and "x" * 40 not in body


def test_a_card_from_before_macro_f1_is_still_a_card(card):
    old = copy.deepcopy(card)
    del old[MAJORITY]
    for row in [*old["rows"], old["worst case"]]:
        row.pop("macro_f1", None), row.pop("classes", None)
    front, body = split(model_card(old, LABELS))
    assert old["digest"] == digest(old) and "| – | – |" in body and "majority" not in body


def test_a_card_of_another_model_or_none_is_refused(card, mine):
    other = evaluate("reviews-robust", protocol=Protocol("fast", 1, (), 9, 20))
    with pytest.raises(ValueError, match="other weights.*evaluate this folder"):
        write_card(mine, other)
    edited = copy.deepcopy(card)
    edited["rows"][1]["accuracy"] = 0.99
    for bad in (edited, {}, [], None, {"rows": []}):
        with pytest.raises(ValueError, match="not the card of an evaluation"):
            write_card(mine, bad)
    with pytest.raises(ValueError, match="no folder of a trained model"):
        write_card(mine / "nowhere", card)
    assert not (mine / "README.md").exists()


def test_an_exported_folder_gets_a_card_of_its_own_weights(exported, card, tmp_path):
    folder = shutil.copytree(exported[0], tmp_path / "served")
    served = evaluate(folder, protocol=TINY, device="cpu")
    page = write_card(folder, served).read_text("utf-8")
    assert "without gradients" in page and served["model"]["sha256"] != card["model"]["sha256"]
    (folder / "README.md").unlink()
    with pytest.raises(ValueError, match="other weights"):
        write_card(folder, card)


def test_write_card_keeps_what_a_person_wrote(card, mine):
    file = write_card(mine, card)
    assert file == mine / "README.md" and file.read_text("utf-8") == write_card(
        mine, card).read_text("utf-8")  # fmt: skip
    file.write_text("My own words.")
    with pytest.raises(ValueError, match="move it away first"):
        write_card(mine, card)
    assert file.read_text() == "My own words."


def test_a_folder_called_like_an_embedded_model_is_itself(card, mine, monkeypatch):
    monkeypatch.chdir(mine.parent)
    mine.rename(mine.parent / "reviews-robust")
    assert write_card("reviews-robust", card).is_file()


@pytest.mark.parametrize("adversarial", [False, True])
def test_the_run_s_own_record_stands_on_the_page_without_paths(card, mine, adversarial):
    log = [{"clean_loss": 0.5, "adv_loss": 0.7} if adversarial else {"clean_loss": 0.5}]
    cost = {"seconds": 271.11938607600007, "forward": 80.0, "backward": 80.0, "weights": 80.0}
    used = {"epochs": 10, "learning_rate": 0.001}
    record = {"log": log, "cost": cost, "used": used}
    (mine / "training.json").write_text(json.dumps(record))
    options = {"data": "/home/someone/secret/mine.csv", "model": "bert-tiny", "test": None,
               "eps": 0.25, "seed": 5, "objective": "adversarial", "attack": "fgm"}  # fmt: skip
    (mine.parent / "options.json").write_text(json.dumps(options))
    _, body = split(write_card(mine, card).read_text("utf-8"))
    assert "- `data`: `mine.csv`" in body and "secret" not in body and "someone" not in body
    assert "- `seed`: `5`" in body and "`test`" not in body
    assert "- `seconds`: `271 s`" in body and "- `forward`: `80`" in body
    assert "- `epochs`: `10`" in body and "- `learning_rate`: `0.001`" in body
    assert f"- `objective`: `{'adversarial' if adversarial else 'clean'}`" in body
    assert ("- `eps`: `0.25`" in body) == ("- `attack`: `fgm`" in body) == adversarial


def test_an_evaluation_in_the_folder_is_no_record_of_training(card, mine):
    (mine / "card.json").write_text(json.dumps(card))
    assert "The folder holds no record of it." in write_card(mine, card).read_text("utf-8")
    made = {"made by": "tools/victims.py", "texts": 2500, "sha256": "x"}
    (mine / "card.json").write_text(json.dumps(made))
    (mine / "README.md").unlink()
    assert "- `texts`: `2500`" in write_card(mine, card).read_text("utf-8")


# ---------------------------------------------------------------------- ONNX


def test_the_exported_model_is_the_original(exported, folder):
    out, output = exported
    names = {file.name for file in out.iterdir()}
    assert names == {"model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json"}
    victim, served = advlib.load_classifier(folder, device="cpu"), load_onnx(out, threads=1)
    assert served.labels == LABELS and served.max_length == 128
    for size in (1, 2, 64):  # each alone, in pairs, all in one batch
        gap = np.abs(victim.logits(ODD, size) - served.logits(ODD, size)).max()
        assert gap <= TOLERANCE, size
    assert served.predict(ODD) == pytest.approx(victim.predict(ODD), abs=1e-4)
    assert len(set(served.logits(ODD).argmax(1))) == 2  # not one answer to everything
    gap = float(output.split()[-1])
    assert 0 < gap <= TOLERANCE and "MB" in output
    written = (out / "model.onnx").read_bytes()
    assert not any(path in written for path in (b"advlib", b".py", b"site-packages"))


def test_inputs_and_axes_are_named_and_free(exported):
    session = load_onnx(exported[0]).model.session
    inputs = {i.name: i.shape for i in session.get_inputs()}
    assert set(inputs) == {"input_ids", "attention_mask", "token_type_ids"}
    assert all(shape == ["batch", "tokens"] for shape in inputs.values())
    assert [(o.name, o.shape) for o in session.get_outputs()] == [("logits", ["batch", 2])]
    for shape in ((1, 1), (3, 7), (2, 128)):
        ones = np.ones(shape, np.int64)
        found = session.run(None, dict.fromkeys(inputs, ones) | {"token_type_ids": 0 * ones})[0]
        assert found.shape == (shape[0], 2)


def test_exported_models_answer_customers_and_read_news(tmp_path, monkeypatch):
    """`--model` of the programs in examples/ takes what `advlib export` wrote."""
    pytest.importorskip("gradio")
    from fastapi.testclient import TestClient

    import examples.serving as serving
    from examples.assistant.__main__ import app as assistant
    from examples.monitor.__main__ import sensor_of

    for name in ("bank-robust", "news-robust"):
        export_onnx(advlib.load_classifier(name, device="cpu"), tmp_path / name)
    served = []
    monkeypatch.setattr(serving, "serve", lambda api, blocks, host, *_, **__: served.append(
        serving.application(api, blocks, host)))  # fmt: skip
    arguments = ["--model", tmp_path / "bank-robust", "--store", tmp_path / "store.sqlite"]
    said = CliRunner().invoke(assistant, [str(a) for a in arguments], catch_exceptions=False)
    assert said.exit_code == 0 and "bank-robust: answers from" in said.output
    client = TestClient(served[0], base_url="http://127.0.0.1")
    reply = client.post("/api/ask", json={"question": "I have lost my card."}).json()
    assert (reply["by"], reply["intent"]) == ("intent", "card.lost")
    sensor = sensor_of(str(tmp_path / "news-robust"), "negative", None, None)
    assert isinstance(sensor.victim.model, advlib.onnx.OnnxModel)
    read = sensor(["Brellwick profit fell", "Skovane profit rose"])
    assert [r.bad for r in read] == [True, False] and read[0].topic == "earnings"


def test_words_can_be_attacked_as_they_are_served_and_embeddings_cannot(exported, folder):
    served, victim = load_onnx(exported[0]), advlib.load_classifier(folder, device="cpu")
    texts = ["The soup was tasty, and the waiter was friendly."]
    ours, theirs = (WordSubstitution()(v, texts, [1])[0] for v in (victim, served))
    assert (ours.text, ours.success, ours.queries) == (theirs.text, theirs.success, theirs.queries)
    with pytest.raises(ValueError, match="no gradients"):
        PGD(0.3)(served.model, served.encode(texts, [1]))


def test_another_architecture_without_token_types(tmp_path):
    """Random, with dropout, in training mode: all that is put back, and none of it is exported."""
    victim = make_classifier("distilbert", dropout=0.5)
    victim.model.train()
    victim.model.config.id2label = {0: "α", 1: "b", 2: "c"}
    victim.model.distilbert.embeddings.eval()
    gap = export_onnx(victim, tmp_path)
    assert victim.model.training and not victim.model.distilbert.embeddings.training
    assert all(p.requires_grad and p.grad is None for p in victim.model.parameters())
    served = load_onnx(tmp_path)
    assert {i.name for i in served.model.session.get_inputs()} == {"input_ids", "attention_mask"}
    assert served.labels == ["α", "b", "c"] and gap <= TOLERANCE
    assert served.tokenizer.model_max_length == 64  # so it cuts for whoever uses it alone
    texts = ["good", "", "the film was not bad " * 40, "zxqv 漢字"]
    assert np.abs(served.logits(texts, 3) - victim.logits(texts, 3)).max() <= TOLERANCE


def exporter(save):
    """In place of PyTorch's: what it returns is written by `save(file)`."""
    graph = SimpleNamespace(all_nodes=list)
    return lambda *inputs, **settings: SimpleNamespace(
        model=SimpleNamespace(graph=graph), save=lambda file, **how: save(file))  # fmt: skip


def test_an_export_that_is_not_the_original_is_not_kept(exported, folder, tmp_path, monkeypatch):
    """The exporter writes another model's file: nobody would notice but for the comparison."""
    victim = advlib.load_classifier(folder, device="cpu")
    with torch.no_grad():
        victim.model.classifier.bias[0] += 2e-4
    monkeypatch.setattr(torch.onnx, "export", exporter(
        lambda file: shutil.copy(exported[0] / "model.onnx", file)))  # fmt: skip
    with pytest.raises(ValueError, match=r"is not the original.*0\.0002\d?, allowed is 0.0001"):
        export_onnx(victim, tmp_path)
    assert not (tmp_path / "model.onnx").exists()


def test_logits_that_are_no_numbers_are_refused(exported, folder, tmp_path, monkeypatch):
    victim = advlib.load_classifier(folder, device="cpu")
    with torch.no_grad():
        victim.model.classifier.bias[0] = float("nan")
    monkeypatch.setattr(torch.onnx, "export", exporter(
        lambda file: shutil.copy(exported[0] / "model.onnx", file)))  # fmt: skip
    with pytest.raises(ValueError, match="not finite"):
        export_onnx(victim, tmp_path)
    assert not (tmp_path / "model.onnx").exists()


def test_what_the_exporter_cannot_do_is_one_sentence(folder, tmp_path, monkeypatch):
    def fails(file):
        file.write_text("half")
        raise RuntimeError("no such operator\nmany\nlines")

    monkeypatch.setattr(torch.onnx, "export", exporter(fails))
    with pytest.raises(ValueError, match="bert model cannot be exported.*operator$") as found:
        export_onnx(advlib.load_classifier(folder, device="cpu"), tmp_path)
    assert "\n" not in str(found.value) and not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_the_way_to_get_it(folder, tmp_path, monkeypatch, package):
    real = advlib.onnx.import_module

    def without(name):
        if name == package:
            raise ImportError(name)
        return real(name)

    monkeypatch.setattr(advlib.onnx, "import_module", without)
    code, output = call("export", folder, "--out", tmp_path)
    assert code == 1 and f"{package} is not installed: pip install onnx" in output
    assert "Traceback" not in output and not (tmp_path / "model.onnx").exists()


def test_what_is_no_export_is_refused(folder, exported, tmp_path):
    with pytest.raises(ValueError, match="holds no model.onnx"):
        load_onnx(folder)
    broken = shutil.copytree(exported[0], tmp_path / "broken")
    (broken / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ValueError, match="cannot be loaded") as found:
        advlib.load_classifier(broken)
    assert "\n" not in str(found.value)
    for name, sentence in [("tokenizer.json", "has no tokenizer"), ("config.json", "no config")]:
        (broken / name).unlink()
        with pytest.raises(ValueError, match=sentence):
            advlib.load_classifier(broken)


# ---------------------------------------------------------------------- exported, as a victim


def test_an_exported_folder_is_loaded_by_its_name(exported, folder, mine):
    wanted = advlib.load_classifier(folder, device="cpu")
    shutil.copy(exported[0] / "model.onnx", mine)  # beside the weights: it is named itself
    for source in (exported[0], str(exported[0]), mine / "model.onnx"):
        served = advlib.load_classifier(source)
        assert hasattr(served.model, "session") and served.device.type == "cpu"
        assert served.predict(ODD) == pytest.approx(wanted.predict(ODD), abs=1e-4)
    assert not hasattr(advlib.load_classifier(mine, device="cpu").model, "session")
    with pytest.raises(ValueError, match="runs on the CPU"):
        advlib.load_classifier(exported[0], device="cuda")
    with pytest.raises(ValueError, match="cannot be trained or get a new head"):
        advlib.load_classifier(exported[0], labels=["a", "b"])
    with pytest.raises(ValueError, match="exported already"):
        export_onnx(advlib.load_classifier(exported[0]), mine)


def test_what_is_served_is_evaluated_without_what_needs_gradients(exported, folder):
    def evaluated(source, **change):
        attacks = (*TINY.attacks, EmbeddingNeighbours(), Typos(rank="gradient", max_changed=0.2))
        return evaluate(source, protocol=replace(TINY, attacks=attacks, n=20), device="cpu")

    found, wanted = evaluated(exported[0]), evaluated(folder)
    assert [row["attack"] for row in found["rows"]] == ["none", "WordSubstitution"]
    assert len(found["left out"]) == 3 and not wanted["left out"]
    assert all(line.endswith(": an exported model has no gradients") for line in found["left out"])
    assert found["protocol"] == "tiny, without gradients" and wanted["protocol"] == "tiny"
    same = {row["attack"]: (row["hits"], row["queries"]) for row in wanted["rows"]}
    assert all(same[r["attack"]] == (r["hits"], r["queries"]) for r in found["rows"])
    file = (exported[0] / "model.onnx").read_bytes()
    assert found["model"]["sha256"] == hashlib.sha256(file).hexdigest()


def test_the_commands_take_an_exported_model(exported, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "The soup was tasty, and the waiter was friendly."
    said = [call("attack", text, "--model", m)[1].splitlines() for m in (folder, exported[0])]
    assert said[0][:5] == said[1][:5] and "no gradients" in said[1][-1]
    code, output = call("evaluate", exported[0], "--n", 10, "--out", "out")
    assert code == 0 and output.count("left out: ") == 3 and "without gradients, n = 10" in output
    code, output = call("run", "--model", exported[0], "--out", "run")
    assert code == 1 and "exported model" in output and output.count("\n") == 1


# ---------------------------------------------------------------------- transformers.pipeline


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_a_saved_folder_is_what_pipeline_loads(kind, folder, tmp_path):
    from transformers import pipeline

    if kind == "distilbert":
        folder = tmp_path
        victim = make_classifier(kind)
        victim.model.config.id2label = {0: "no <b>", 1: "yes | 是", 2: "maybe"}
        victim.save(folder)
    victim = advlib.load_classifier(folder, device="cpu")
    pipe = pipeline("text-classification", model=str(folder), device="cpu", truncation=True)
    wanted = victim.predict(ODD)
    for text, p in zip(ODD, wanted, strict=True):
        found = {answer["label"]: answer["score"] for answer in pipe(text, top_k=None)}
        assert found == pytest.approx(dict(zip(victim.labels, p, strict=True)), abs=1e-5)
    best = [answer["label"] for answer in pipe(ODD, batch_size=len(ODD))]
    assert best == [victim.labels[i] for i in wanted.argmax(1)]


# ---------------------------------------------------------------------- the commands


def test_the_command_writes_the_card(card, mine, tmp_path):
    file = tmp_path / "card.json"
    file.write_text(json.dumps(card))
    code, output = call("card", mine, "--evaluation", file, "--license", "mit")
    assert code == 0 and output.strip() == str(mine / "README.md")
    page = (mine / "README.md").read_text("utf-8")
    assert page == model_card(card, LABELS, license="mit")


def test_the_commands_refuse_in_one_sentence(card, mine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.json").write_text("no json")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "good.json").write_text(json.dumps(card))
    for arguments, words in [
        (["card", mine], "there is no evaluation runs/evaluation/card.json"),
        (["card", mine, "--evaluation", "text.json"], "text.json is no JSON"),
        (["card", mine, "--evaluation", "list.json"], "not the card of an evaluation"),
        (["card", "nowhere", "--evaluation", "good.json"], "no folder of a trained model"),
        (["export", "./nowhere"], "no model folder"),
        (["export", "bert-tiny"], "no trained classification head"),
        (["export", mine, "--out", "/proc/none"], "--out"),
    ]:
        code, output = call(*arguments)
        assert code == 1 and words in " ".join(output.split()), (arguments, output)
        assert "Traceback" not in output and output.count("\n") == 1


def test_importing_the_module_needs_no_onnx():
    assert not [name for name in vars(deploy) if name.startswith("onnx")]
