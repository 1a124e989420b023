"""The review queue: append-only, whole after a kill, fair to people's time, inert."""

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from typer.testing import CliRunner

from advlib.app.cli import app
from advlib.app.review import Queue, ReviewError, read_texts, shown, unsure
from advlib.data import load_text


def call(*arguments):
    found = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    return found.exit_code, found.output


def rows(*texts, source="a", **more):
    return [dict(text=text, source=source, **more) for text in texts]


@pytest.fixture
def queue(tmp_path):
    with Queue(tmp_path / "queue.db", create=True) as made:
        yield made


def test_a_text_is_there_once_per_source(queue):
    done = queue.add([*rows("one", "two", "one"), *rows("one", source="b")])
    assert done == dict(added=3, there_already=1, too_many_of_a_source=0, unusable=0)
    assert queue.add(rows("one"))["there_already"] == 1
    assert queue.stats()["texts"] == 3 and queue.stats()["waiting by source"] == {"a": 2, "b": 1}


def test_a_source_cannot_flood_the_queue_and_sources_take_turns(queue):
    flood = rows(*(f"spam {i}" for i in range(50)), source="loud", confidence=0.1)
    done = queue.add([*flood, *rows("mine", "too", confidence=0.8)], most_per_source=5)
    assert (done["added"], done["too_many_of_a_source"]) == (7, 45)
    order = []
    while (item := queue.next()) is not None:
        order.append(item["text"])
        queue.decide(item["id"], "x", "ann")
    assert order[:4] == ["spam 0", "mine", "spam 1", "too"] and len(order) == 7
    assert queue.add(rows("spam 7", source="loud"), most_per_source=1)["added"] == 1  # room again


def test_the_least_sure_text_is_next(queue):
    queue.add([dict(text=f"t{c}", source="a", confidence=c) for c in (0.7, 0.55, 0.9)])
    queue.add(rows("held", reason="held by hand"))
    seen = []
    for _ in range(4):
        item = queue.next()
        seen.append(item["text"])
        queue.decide(item["id"], None, "ann")
    assert seen == ["held", "t0.55", "t0.7", "t0.9"] and queue.next() is None


def test_the_budget_ends_what_is_shown_and_more_can_be_given(queue):
    queue.add(rows("one", "two", "three"), budget=10)
    queue.decide(queue.next()["id"], "x", "ann", minutes=9.5)
    assert queue.next()["text"] == "two"
    assert queue.decide(2, "x", "ann", minutes=3) == 0  # spent is spent
    with pytest.raises(ReviewError, match="budget of 10 minutes is used up .12.5."):
        queue.next()
    queue.add([], budget=20)
    assert queue.next()["text"] == "three" and queue.stats()["budget"] == 20
    kept = queue.db.execute("SELECT name, value FROM settings").fetchall()
    assert [tuple(row) for row in kept] == [("budget", "10.0"), ("budget", "20.0")]
    queue.add([], budget=20)
    assert len(queue.db.execute("SELECT * FROM settings").fetchall()) == 2


def test_a_second_decision_is_a_new_line_and_the_last_counts(queue):
    queue.add(rows("one", prediction="bad"))
    assert queue.decide(1, "good", "ann", 2) == 0
    assert queue.decide(1, "bad", "bob", 3) == 1
    made = queue.decisions()
    assert [(d["who"], d["label"], d["minutes"]) for d in made] == [
        ("ann", "good", 2), ("bob", "bad", 3)]  # fmt: skip
    assert all(d["at"].endswith("+00:00") for d in made)
    assert queue.labelled() == [("one", "bad")]
    found = queue.stats()
    assert [found[k] for k in ("decided", "changed", "overruled", "minutes")] == [1, 1, 0, 5]
    assert found["decisions by"] == {"ann": 1, "bob": 1} and found["labels"] == {"bad": 1}
    queue.decide(1, None, "ann")
    assert queue.labelled() == [] and queue.stats()["cannot be told"] == 1


@pytest.mark.parametrize("table", ["texts", "decisions", "settings"])
def test_no_line_is_ever_changed_or_taken_away(queue, table):
    queue.add(rows("one"), budget=5)
    queue.decide(1, "x", "ann")
    column = {"texts": "text", "decisions": "who", "settings": "value"}[table]
    for sql in (f"UPDATE {table} SET {column} = 'other'", f"DELETE FROM {table}"):
        with pytest.raises(sqlite3.IntegrityError, match="only grows"):
            queue.db.execute(sql)
    assert queue.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 1


def test_a_text_from_two_sources_has_its_very_last_label(queue):
    queue.add([*rows("one"), *rows("one", "other", source="b")])
    queue.decide(2, "good", "ann")
    queue.decide(1, "bad", "ann")
    queue.decide(3, "good", "ann")
    assert queue.labelled() == [("one", "bad"), ("other", "good")]


def test_labels_are_those_that_were_named(queue):
    queue.add(rows("one"), labels=["good", "bad"])
    with pytest.raises(ReviewError, match="no label 'godo': take one of good, bad"):
        queue.decide(1, "godo", "ann")
    assert queue.decisions() == []
    queue.decide(1, "good", "ann")


@pytest.mark.parametrize(
    "do, words",
    [
        (lambda q: q.decide(1, "x", " "), "who decides"),
        (lambda q: q.decide(7, "x", "ann"), "no text with the number 7"),
        (lambda q: q.decide(2**70, "x", "ann"), "no text with the number"),
        (lambda q: q.decide(1, "", "ann"), "label"),
        (lambda q: q.decide(1, "x", "ann", minutes=-1), "minutes"),
        (lambda q: q.decide(1, "x", "ann", minutes=float("nan")), "minutes"),
        (lambda q: q.decide(1, "x", "ann", minutes=1e6), "minutes"),
        (lambda q: q.add(rows("x"), most_per_source=0), "most_per_source"),
        (lambda q: q.add([{"text": "x"}]), "a text and a source"),
        (lambda q: q.add([{"source": "x"}]), "a text and a source"),
        (lambda q: q.add(rows("x", confidence=1.2)), "between 0 and 1"),
        (lambda q: q.add(rows("x", confidence=float("nan"))), "between 0 and 1"),
        (lambda q: q.add([], budget=-1), "budget"),
        (lambda q: q.add([], budget=float("inf")), "budget"),
        (lambda q: q.add([], labels=["a", ""]), "labels"),
        (lambda q: q.export("x.csv"), "no text has a label yet"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(queue, do, words):
    queue.add(rows("one"))
    with pytest.raises(ReviewError, match=words):
        do(queue)
    assert queue.stats()["texts"] == 1 and queue.decisions() == []
    assert queue.setting("budget") is queue.setting("labels") is None


def test_texts_that_no_person_can_read_are_left_out_and_counted(queue):
    done = queue.add(rows("", "  \n", "a\0b", "x" * 100_001, "\ud800", "x" * 100_000, "漢字 😀"))
    assert (done["added"], done["unusable"]) == (2, 5)


def test_a_file_comes_in_whole_or_not_at_all(queue):
    bad = [*rows("one", "two"), dict(text="three", source="a", confidence=7), *rows("four")]
    with pytest.raises(ReviewError):
        queue.add(bad)
    assert queue.stats()["texts"] == 0
    assert queue.add(rows("one"))["added"] == 1


CHILD = """
import sys, time
from advlib.app.review import Queue

with Queue(sys.argv[1], create=True) as queue:
    for part in range(3):
        queue.add([dict(text=f"{part} {i} " + "x" * 2000, source="a") for i in range(50)], 9999)
        queue.decide(50 * part + 1, "good", "ann")
    def slowly():
        for i in range(9999):
            yield dict(text=f"late {i} " + "x" * 9000, source="a")
            if i == 800:  # 7 MB: more than the cache holds, so a part of it is in the log by now
                print("now", flush=True)
                time.sleep(600)
    queue.add(slowly(), 99999)
"""


def test_kill_9_in_the_middle_of_a_write_leaves_a_whole_store(tmp_path):
    file = tmp_path / "queue.db"
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(file)], stdout=subprocess.PIPE,
                             env=os.environ)  # fmt: skip
    assert child.stdout.readline().strip() == b"now"
    log = tmp_path / "queue.db-wal"
    assert log.stat().st_size > 3_000_000, "it was not in the middle of a write"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    with Queue(file) as queue:
        assert queue.db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert queue.db.execute("PRAGMA foreign_key_check").fetchall() == []
        found = queue.stats()
        assert (found["texts"], found["decided"]) == (150, 3)  # all that was done, no part more
        assert queue.add(rows("after"), 9999)["added"] == 1
        assert queue.next() is not None


def test_a_reader_sees_the_store_as_it_was_while_another_writes(tmp_path):
    file = tmp_path / "queue.db"
    with Queue(file, create=True) as one, Queue(file) as other:
        assert one.db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"

        def watched():
            yield from rows("one", "two")
            assert other.stats()["texts"] == 0  # neither half of it nor an error
            other.db.execute("PRAGMA busy_timeout = 50")
            with pytest.raises(ReviewError, match="busy"):
                other.add(rows("mine"))
            yield from rows("three")

        one.add(watched())
        assert other.stats()["texts"] == 3 and other.add(rows("mine"))["added"] == 1


HOSTILE = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1+1", "\n@x",
           "'; DROP TABLE texts; --", '"quoted", with a comma', "<script>alert(1)</script>",
           "two\nlines", "\u202eturned\u202c", "\x1b[31mred", "fine"]  # fmt: skip


def filled(queue, texts=HOSTILE):
    queue.add(rows(*texts, source="<b>", prediction="<i>p</i>", confidence=0.5, reason="=r"))
    while (item := queue.next()) is not None:
        queue.decide(item["id"], "good" if item["id"] % 2 else "bad", "ann")
    return queue


def test_no_cell_of_the_export_is_a_formula_and_json_has_texts_as_they_are(queue, tmp_path):
    filled(queue)
    assert queue.stats()["texts"] == len(HOSTILE)
    written, changed = queue.export(tmp_path / "out.csv")
    with open(tmp_path / "out.csv", newline="", encoding="utf-8") as opened:
        cells = list(csv.DictReader(opened))
    assert written == len(cells) == len(HOSTILE) and changed == 8
    for cell, text in zip(cells, HOSTILE, strict=True):
        assert not cell["text"].lstrip().startswith(("=", "+", "-", "@"))
        assert cell["text"][0] not in "\t\r\n"
        assert cell["text"] in (text, "'" + text)
    assert queue.export(tmp_path / "out.jsonl") == (len(HOSTILE), 0)
    lines = [json.loads(row) for row in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert [row["text"] for row in lines] == HOSTILE
    with pytest.raises(ReviewError, match="it stays"):
        queue.export(tmp_path / "out.csv")
    with pytest.raises(ReviewError, match="csv or .jsonl"):
        queue.export(tmp_path / "out.xlsx")


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_what_is_exported_can_be_trained_on(queue, tmp_path, ending):
    texts = [f"{word} soup number {i}," for i in range(20) for word in ("good", "bad")]
    queue.add(rows(*texts))
    for i, text in enumerate(texts, 1):
        queue.decide(i, "positive" if "good" in text else "negative", "ann")
    queue.export(tmp_path / f"out.{ending}")
    data = load_text(tmp_path / f"out.{ending}")
    found = {text: split.features["label"].names[y] for split in data.values()
             for text, y in zip(split["text"], split["label"], strict=True)}  # fmt: skip
    assert found == dict(queue.labelled()) and len(found) == 40


class Markup(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_shown_is_text_and_nothing_else(text):
    item = dict(id=3, text=text, source=text, prediction=text, confidence=0.5, reason=text)
    plain = shown(item, prediction=True)
    assert len(plain.split("\n")) == 2 and all(c.isprintable() or c == "\n" for c in plain)
    page = Markup(shown(item, prediction=True, markup=True))
    assert page.tags == ["article", "p", "footer"]
    assert page.text.startswith("".join(c if c.isprintable() or c == "\n" else "�" for c in text))
    assert "the model says" not in shown(item)


def test_another_file_is_no_queue_and_none_is_made_by_looking(tmp_path):
    with pytest.raises(ReviewError, match="no queue .*: begin one"):
        Queue(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "text.db").write_text("not a database, but long enough to be one" * 50)
    with pytest.raises(ReviewError, match="cannot be used as a queue"):
        Queue(tmp_path / "text.db", create=True)
    with sqlite3.connect(tmp_path / "other.db") as db:
        db.execute("CREATE TABLE mine (x)")
    db.close()
    with pytest.raises(ReviewError, match="a database, but no queue"):
        Queue(tmp_path / "other.db", create=True)
    with pytest.raises(ReviewError, match="cannot be opened"):
        Queue(tmp_path / "no folder" / "q.db", create=True)


def test_a_csv_of_texts_is_read_with_what_it_says(tmp_path):
    file = tmp_path / "held.csv"
    file.write_text("\ufefftext,confidence,source,reason\none,0.5,web,\ntwo,,,held\n", "utf-8")
    one, two = read_texts(file)
    assert one == dict(text="one", confidence=0.5, source="web", reason=None, prediction=None)
    assert two == dict(text="two", confidence=None, source="held.csv", reason="held",
                       prediction=None)  # fmt: skip
    assert read_texts(file, "mail")[1]["source"] == "mail"
    for content, words in [("a,b\n1,2\n", "one of them `text`"), ("text\n", "rows below"),
                           ("", "column names"), ("text,confidence\na,sure\n", "row 2.*'sure'"),
                           ('text\n"open\n', "as CSV")]:  # fmt: skip
        file.write_text(content)
        with pytest.raises(ValueError, match=words):
            read_texts(file)
    file.write_bytes(b"text\n\xff\xfe\n")
    with pytest.raises(ValueError, match="UTF-8"):
        read_texts(file)
    with pytest.raises(ValueError, match="cannot be read"):
        read_texts(tmp_path / "none.csv")


def test_a_model_is_unsure_of_some(bert):
    texts = ["the film was good", "", "it was slow", "they felt warm"]
    sure = bert.predict([t for t in texts if t]).max(1)
    below = float(sorted(sure)[1]) + 1e-6
    found = unsure(bert, rows(*texts), below)
    assert len(found) == 2 and all(row["confidence"] < below for row in found)
    for row in found:
        p = bert.predict([row["text"]])[0]
        assert row["prediction"] == bert.labels[p.argmax()]
        assert row["reason"].startswith("confidence below 0.")
    assert unsure(bert, rows("", ""), 0.5) == []


def test_the_command_from_a_file_to_labels(tmp_path):
    store, file = tmp_path / "q.db", tmp_path / "texts.csv"
    file.write_text("text\nThe soup was tasty.\nThe soup was awful.\nThe soup was \x1b[31m.\n")
    code, output = call("review", "add", store, "--data", file, "--model", "reviews-clean",
                        "--below", "1", "--budget", "2")  # fmt: skip
    assert code == 0 and "added 3" in output, output
    code, output = call("review", "next", store)
    assert code == 0 and "The soup was" in output and "model says" not in output
    assert "\x1b" not in output
    assert "model says" in call("review", "next", store, "--prediction")[1]
    assert "<article" in call("review", "next", store, "--html")[1]
    assert call("review", "decide", store, 1, "positive", "--who", "ann")[1] == "decided\n"
    code, output = call("review", "decide", store, 1, "negative", "--who", "bob")
    assert code == 0 and output == "decided, for the 2nd time\n"
    code, output = call("review", "next", store)
    assert code == 1 and "budget of 2 minutes is used up" in output and "Traceback" not in output
    code, output = call("review", "stats", store)
    assert code == 0 and "ann 1, bob 1" in output and "waiting                2" in output
    code, output = call("review", "export", store, "--out", tmp_path / "out.csv")
    assert code == 0 and "1 text with a label" in output
    assert '"The soup was tasty.","negative"' in (tmp_path / "out.csv").read_text()
    assert call("review", "add", store, "--budget", "9")[0] == 0


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["add", "q.db"], "name a file"),
        (["add", "q.db", "--data", "none.csv"], "cannot be read"),
        (["add", "q.db", "--budget", "1", "--below", "2"], "--below"),
        (["next", "q.db"], "no queue q.db"),
        (["decide", "q.db", "1", "x", "--who", "ann"], "no queue q.db"),
        (["stats", "q.db"], "no queue"),
        (["export", "q.db"], "no queue"),
    ],
)
def test_the_command_refuses_in_one_sentence(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, output = call("review", *arguments)
    assert code == 1 and words in output and "Traceback" not in output
    assert list(tmp_path.iterdir()) == []


def test_help_of_the_queue_reads_well():
    for command in ("add", "next", "decide", "stats", "export"):
        code, output = call("review", command, "--help")
        assert code == 0 and "Usage" in output
    assert "…" not in CliRunner().invoke(app, ["review", "--help"]).output.split("Commands")[1]
