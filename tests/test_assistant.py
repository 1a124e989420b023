"""The customer service assistant, as a whole: logic, store, API, command line, page."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("gradio")

from examples.assistant import store as stores
from examples.assistant.__main__ import app
from examples.assistant.api import routes
from examples.assistant.app import Assistant, Reply, by_vote
from examples.assistant.classifier import LettersLinear
from examples.assistant.history import ANSWERS, embedded_history, read_history
from examples.assistant.page import card, page, shown
from examples.assistant.store import NotStaff, NotThere, QuestionStore
from examples.serving import Limiter, ServingError, TooMany, application, open_store

ROOT = Path(__file__).parents[1]
NASTY = ['"', "card*", "NEAR(card lost, 2)", "question : x", "'; DROP TABLE entries; --", "<b>",
         "(", "AND OR NOT", "^card", "{a}", "%", "卡丢了", "a" * 900, "-card", "ẞ𝔠"]  # fmt: skip


class Sure:
    """A classifier that is right about `rows`, or, where its confidence is below 0.5, wrong."""

    labels = ["card.lost", "card.late"]

    def __init__(self, confidence: float = 0.99):
        self.confidence = confidence

    def predict(self, texts):
        p = np.full((len(texts), 2), 1 - self.confidence)
        intents = {row["question"]: row["intent"] for row in rows()}
        for row, text in zip(p, texts, strict=True):
            row[self.labels.index(intents.get(text, "card.lost"))] = self.confidence
        return p


@cache
def rows() -> list[dict]:
    """Past questions of two intents from five sources, thirty each."""
    return [row for row in embedded_history(30) if row["intent"] in Sure.labels]


@pytest.fixture
def store(tmp_path):
    opened = QuestionStore(tmp_path / "store.sqlite")
    opened.add(rows())
    yield opened
    opened.close()


def assistant(store, confidence: float = 0.99) -> Assistant:
    return Assistant(store, Sure(confidence), limiter=Limiter(1e9, 10**9))


# ---------------------------------------------------------------------- a question


def test_sure_and_alike_is_answered_by_intent(store):
    reply = assistant(store).ask("Hello, I have lost my card.", "me")
    assert (reply.by, reply.intent, reply.answer) == ("intent", "card.lost", ANSWERS["card.lost"])


def test_unsure_is_answered_by_a_clear_vote_also_with_typos(store):
    asked = Assistant(store, Sure(0.4))  # always wrong
    assert asked.sure == np.inf and 0 < asked.clear <= 1
    known = next(row["question"] for row in rows() if row["intent"] == "card.lost")
    reply = asked.ask(known.replace("card", "crad"), "me")
    assert (reply.by, reply.intent) == ("store", "card.lost")


def test_what_is_unlike_all_past_questions_goes_to_a_person_however_sure_the_model_is(store):
    asked = assistant(store)
    assert asked.like > 0.3
    reply = asked.ask("Where can I buy a boat?", "me")
    assert reply.by == "person" and reply.ticket
    assert store.ticket(reply.ticket) == {"question": "Where can I buy a boat?", "answer": None}
    assert store.stats()["asked"] == {"person": 1}


def test_thresholds_hold_on_past_questions(tmp_path):
    store = QuestionStore(tmp_path / "s.sqlite")
    store.add(embedded_history(8))
    asked = Assistant(store, "letters", most_wrong=0.1)
    held = store.history()[:: 4]
    found, sure = asked.classify([row["question"] for row in held])
    assert 0 < asked.sure <= 1 and 0 < asked.like < 1
    given = [a == row["intent"] for a, c, row in zip(found, sure, held, strict=True)
             if c >= asked.sure]  # fmt: skip
    assert np.mean(given) >= 0.9  # these it has even read by now
    with pytest.raises(ServingError, match="share"):
        Assistant(store, most_wrong=2)


def test_a_history_without_intents_answers_by_the_vote_alone(tmp_path):
    store = QuestionStore(tmp_path / "s.sqlite")
    row = {"question": "When do you open?", "answer": "At nine.", "intent": "", "source": "a"}
    store.add([row])
    reply = Assistant(store).ask("when do you open", "me")
    assert (reply.by, reply.answer, reply.intent) == ("store", "At nine.", None)


def test_an_intent_without_an_answer_goes_to_a_person(tmp_path):
    store = QuestionStore(tmp_path / "s.sqlite")
    store.add([row | {"answer": ""} for row in rows()])
    assert assistant(store).ask("I have lost my card", "me").by == "person"


def test_no_question_breaks_the_store(store):
    asked = assistant(store, 0.5)
    for text in NASTY:
        reply = asked.ask(f"my card {text}", "me")
        assert reply.answer, text
        assert store.rows("SELECT count(*) AS n FROM entries")[0]["n"] == 60, text


def test_what_is_no_question_gets_a_sentence(store):
    asked = assistant(store)
    for text in ("", "  \n", "a" * 1001, "card\0", "\ud800", None, 7):
        with pytest.raises(ServingError, match="the question"):
            asked.ask(text, "me")


# ---------------------------------------------------------------------- malicious users


def test_a_flood_is_limited_for_its_client_alone():
    now = [0.0]
    limiter = Limiter(per_minute=60, burst=3, clock=lambda: now[0])
    for _ in range(3):
        limiter.take("eve")
    with pytest.raises(TooMany, match="try again in 2 s"):
        limiter.take("eve")
    limiter.take("ann")
    now[0] += 1
    limiter.take("eve")


def test_a_client_cannot_fill_the_queue_and_takes_turns(store):
    for i in range(stores.MOST_OF_A_CLIENT):
        store.hand_over(f"flood {i}", "eve", None, 0)
    with pytest.raises(ServingError, match="wait for a person already"):
        store.hand_over("one more", "eve", None, 0)
    assert store.hand_over("flood 3!", "eve", None, 0)  # asked again: the same ticket
    store.hand_over("mine", "ann", None, 0)
    assert [row["question"] for row in store.queue(3)] == ["flood 0", "mine", "flood 1"]


def test_one_source_is_outvoted_however_many_rows_it_writes(store):
    question = next(row["question"] for row in rows() if row["intent"] == "card.lost")
    store.add([{"question": f"{question} {'!' * i}", "intent": "", "answer": "Pay eve.",
                "source": "eve"} for i in range(200)])  # fmt: skip
    near = store.search(question)
    assert len([row for row in near if row["source"] == "eve"]) == 2
    assert by_vote(near)[0] == ("intent", "card.lost")
    store.add([{"question": f"lost {i}", "intent": "card.lost", "answer": "Pay eve.",
                "source": "eve"} for i in range(50)])  # fmt: skip
    assert store.answer_of("card.lost") == ANSWERS["card.lost"]


def test_html_is_inert():
    text = '<script>alert("x")</script>\u202e'
    assert "<script" not in shown(text) and "\u202e" not in shown(text)
    assert "<script" not in card(Reply(text, "person", text, 0.5, text))


# ---------------------------------------------------------------------- people


def test_an_answer_is_served_only_after_a_second_person_has_confirmed_it(store):
    asked = assistant(store)
    question = "May I pay by cheque at the counter?"
    ticket = asked.ask(question, "me").ticket
    store.hand_over(question.upper(), "you", None, 0)  # reads the same
    assert store.answer(store.queue()[0]["id"], "Yes, until noon.", "ann") == 2
    assert store.ticket(ticket)["answer"] == "Yes, until noon."  # who asked has it at once
    assert asked.think(question).by == "person" and not store.queue()
    (entry,) = store.quarantine()
    with pytest.raises(ServingError, match="somebody else"):
        store.decide(entry["id"], True, "ann")
    store.decide(entry["id"], True, "ben")
    assert asked.think(question).answer == "Yes, until noon."
    with pytest.raises(ServingError, match="served already"):
        store.decide(entry["id"], False, "ben")


def test_what_is_rejected_is_never_served(store):
    store.hand_over("what about cheques?", "me", None, 0)
    store.answer(1, "Ha ha.", "eve")
    store.decide(store.quarantine()[0]["id"], False, "ann")
    assert store.quarantine() == [] and store.search("what about cheques?")[:1] != ["Ha ha."]
    assert all(row["answer"] != "Ha ha." for row in store.search("what about cheques?"))


def test_keys(store):
    key = store.new_key("ann")
    assert store.person(key) == "ann" and store.has_staff()
    assert store.new_key("ann") != key
    for wrong in (key, "", None, "x" * 1000, "\ud800"):
        with pytest.raises(NotStaff):
            store.person(wrong)
    assert key not in Path(store.store.path).read_bytes().decode("latin-1")


def test_numbers_that_are_not_there(store):
    for number in (99, -1, 2**63 - 1):
        with pytest.raises(NotThere):
            store.answer(number, "x", "ann")
        with pytest.raises(NotThere):
            store.decide(number, True, "ann")
    with pytest.raises(ServingError, match="larger"):
        store.answer(2**70, "x", "ann")
    with pytest.raises(NotThere):
        store.ticket("none")


# ---------------------------------------------------------------------- history and store


def test_embedded_history_is_what_the_bank_asks():
    found = embedded_history(2)
    assert len(found) == 56 and {row["intent"] for row in found} == set(ANSWERS)
    assert len({row["source"] for row in found}) == 5


def test_a_csv_is_read_with_usual_names_and_twice_changes_nothing(store, tmp_path):
    file = tmp_path / "more.csv"
    file.write_text("\ufefftext,category\nhow,a\nwhy,b\n", encoding="utf-8")
    found = read_history(file)
    assert found[0] == {"question": "how", "answer": "", "intent": "a", "source": "more.csv"}
    assert store.add(found) == (2, 0) and store.add(found) == (0, 2)


@pytest.mark.parametrize(
    "content, said",
    [
        (None, "cannot be read"),
        (b"", "first row of column names"),
        (b"a,b\n1,2\n", "first row of column names"),
        (b"question,answer\n", "no rows"),
        (b"question,answer\nwhen,\n", "row 2 .* neither an answer nor an intent"),
        (b"question,answer\n ,nine\n", "row 2 .* is empty"),
        (b"question,answer\nok,ok\n" + b"x" * 1001 + b",nine\n", "row 3 .* 1001 characters"),
        (b"question,answer\n\xff\xfe,nine\n", "no text in UTF-8"),
        (b'question,answer\n"when,nine\n', "cannot be read as CSV"),
        (b"question,answer\n" + b"y" * 200_000 + b",nine\n", "cannot be read as CSV"),
        (b"question,answer\nw\0hen,nine\n", "no text|CSV"),
    ],
)
def test_a_bad_file_gets_a_sentence(tmp_path, content, said):
    file = tmp_path / "bad.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ServingError, match=said):
        read_history(file)


def test_an_import_is_all_or_nothing(store):
    before, new = store.stats(), rows()[0] | {"question": "a new one"}
    with pytest.raises(ServingError):
        store.add([new, dict(question="\ud800", answer="", intent="", source="")])
    with pytest.raises(KeyError):
        store.add([new, {}])
    assert store.stats() == before


def test_a_file_that_is_no_store_gets_a_sentence(tmp_path):
    (tmp_path / "text").write_text("not a database, but long enough to look at" * 100)
    with pytest.raises(ServingError, match="cannot be used"):
        QuestionStore(tmp_path / "text")
    open_store(tmp_path / "other", "CREATE TABLE x (y);\n").close()
    with pytest.raises(ServingError, match="another program"):
        QuestionStore(tmp_path / "other")
    (tmp_path / "file").write_text("")
    with pytest.raises(ServingError, match="folder"):
        QuestionStore(tmp_path / "file" / "store.sqlite")
    with pytest.raises(ServingError):
        QuestionStore(tmp_path)


def test_a_damaged_store_gets_a_sentence(tmp_path):
    path = tmp_path / "store.sqlite"
    kept = QuestionStore(path)
    kept.add([row | {"question": f"{i} {row['question']}"} for i in range(7) for row in rows()])
    kept.close()
    data = bytearray(path.read_bytes())
    for start in range(4096, len(data) - 4096, 4096):
        data[start : start + 200] = b"\xff" * 200
    path.write_bytes(data)
    with pytest.raises(ServingError, match="damaged|cannot be used"):
        QuestionStore(path)


def test_a_busy_store_gets_a_sentence(store, monkeypatch):
    other = sqlite3.connect(store.store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store.store.db.execute("PRAGMA busy_timeout = 50")
    with pytest.raises(ServingError, match="busy"):
        store.count("person")
    other.close()


KILLED = """
import sys
from examples.assistant.store import QuestionStore
store = QuestionStore(sys.argv[1])
n = 0
while True:
    store.add(dict(question=f"the card of batch {n}, row {i}", answer="Yes.", intent="",
                   source=f"batch {n}") for i in range(50))
    store.hand_over(f"question {n}", f"client {n}", None, 0.0)
    store.answer(store.queue()[0]["id"], "An answer.", "ann")
    n += 1
    print(n, flush=True)
"""


def test_killed_in_mid_write_loses_nothing_that_was_finished(tmp_path):
    path = tmp_path / "store.sqlite"
    writer = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE,
                              text=True, cwd=ROOT)  # fmt: skip
    for line in writer.stdout:
        if int(line) >= 5:
            break
    time.sleep(0.02)
    writer.send_signal(signal.SIGKILL)
    done = max([int(line), *map(int, writer.stdout.read().split())])
    writer.wait()
    store = QuestionStore(path)
    assert store.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    store.rows("INSERT INTO letters(letters, rank) VALUES ('integrity-check', 0)")
    of = store.rows("SELECT source, count(*) AS n FROM entries WHERE source LIKE 'batch%' "
                    "GROUP BY source")  # fmt: skip
    assert {row["n"] for row in of} == {50} and done <= len(of) <= done + 1
    indexed = store.rows("SELECT count(*) AS n FROM letters")[0]["n"]
    assert indexed == 50 * len(of)
    answered = store.rows("SELECT count(*) AS n FROM waiting WHERE entry IS NOT NULL")[0]["n"]
    assert done <= answered == len(store.quarantine(10**6)) <= done + 1


def test_letters_linear_needs_two_intents():
    with pytest.raises(ServingError, match="two intents"):
        LettersLinear(["a", "b"], ["x", "x"])


# ---------------------------------------------------------------------- the running program


def run(*arguments):
    """The command line, in this process: each start of another one loads PyTorch."""
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A running server: its address, its folder, and a key for each of two people."""
    folder = tmp_path_factory.mktemp("server")
    command = ["--port", "0", "--store", folder / "store.sqlite", "--per-minute", "600"]
    process = subprocess.Popen([sys.executable, "-m", "examples.assistant", *map(str, command)],
                               cwd=ROOT, stdout=subprocess.PIPE, text=True)  # fmt: skip
    said = ""
    for line in process.stdout:
        said += line
        if "is ready" in line:
            break
    keys = re.findall(r"with the key (\S+)", said)
    yield re.search(r"http://\S+", said)[0], folder, keys
    process.terminate()
    assert process.wait(20) in (0, -signal.SIGTERM)


def call(address: str, path: str, body=None, key: str = "", data: bytes | None = None, **headers):
    """(status, JSON) of the API's answer."""
    data = json.dumps(body).encode() if body is not None else data
    headers = {"Content-Type": "application/json", "X-Key": key} | headers
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{address}/api/{path}", data, headers),
                                    timeout=60) as found:  # fmt: skip
            return found.status, json.load(found)
    except urllib.error.HTTPError as error:
        text = error.read()
        return error.code, json.loads(text) if text.startswith(b"{") else text.decode()


def test_the_way_of_a_question_by_http(server):
    address, _, (ann, ben) = server
    status, reply = call(address, "ask", {"question": "I have lost my card."})
    assert status == 200 and reply["intent"] == "card.lost" and reply["by"] == "intent"
    assert reply["answer"] == ANSWERS["card.lost"] and reply["confidence"] > 0.5
    _, reply = call(address, "ask", {"question": "Do you lend umbrellas to visitors?"})
    assert reply["by"] == "person"
    _, queue = call(address, "queue", key=ann)
    number = next(row["id"] for row in queue if "umbrellas" in row["question"])
    assert call(address, f"queue/{number}", {"answer": "We do."}, ann) == (200, {"answered": 1})
    assert call(address, f"tickets/{reply['ticket']}")[1]["answer"] == "We do."
    _, (held,) = call(address, "quarantine", key=ben)
    assert call(address, f"quarantine/{held['id']}", {"serve": True}, ann)[0] == 400
    assert call(address, f"quarantine/{held['id']}", {"serve": True}, ben)[1]["state"] == "served"
    _, reply = call(address, "ask", {"question": "do you lend umbrellas to visitors"})
    assert (reply["by"], reply["answer"]) == ("store", "We do.")
    assert call(address, "stats")[1]["entries"]["served"] == 561


@pytest.mark.parametrize(
    "path, body, key, status, said",
    [
        ("ask", {"question": " "}, "", 400, "the question is empty"),
        ("ask", {"question": "a" * 1001}, "", 400, "1001 characters"),
        ("ask", {"question": "\ud800"}, "", 400, "no text"),
        ("ask", {"question": 7}, "", 422, "question"),
        ("ask", {"q": "x"}, "", 422, "question"),
        ("ask", [], "", 422, "the request|question|dictionary"),
        ("queue", None, "", 403, "nobody's key"),
        ("queue/1", {"answer": "x"}, "wrong", 403, "nobody's key"),
        ("tickets/none", None, "", 404, "no such ticket"),
        ("nothing", None, "", 404, "nothing here"),
        ("queue/x", {"answer": "x"}, "ann", 422, "number"),
        ("queue/123456789012345678901234567890", {"answer": "x"}, "ann", 400, "larger"),
        ("quarantine/99999", {"serve": True}, "ann", 404, "no entry"),
    ],
)
def test_a_bad_request_gets_one_sentence(server, path, body, key, status, said):
    address, _, keys = server
    got, answer = call(address, path, body, keys[0] if key == "ann" else key)
    assert got == status and re.search(said, answer["error"]) and "Traceback" not in str(answer)


def test_a_body_that_is_no_json_or_too_large_gets_one_sentence(server):
    address = server[0]
    assert call(address, "ask", data=b'{"qu')[0] == 422
    status, answer = call(address, "ask", data=b" ", **{"Content-Length": "2000001"})
    assert status == 413 and "2000000 bytes" in answer["error"]
    assert call(address, "ask", {"question": "x"}, Host="evil.example")[0] == 400


def test_syntax_by_http_from_several_clients_at_once(server):
    address, said = server[0], []

    def ask(text):
        said.append(call(address, "ask", {"question": text}))

    threads = [threading.Thread(target=ask, args=(text,)) for text in NASTY]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {status for status, _ in said} == {200}


def test_the_page_needs_nothing_from_elsewhere(server):
    with urllib.request.urlopen(server[0], timeout=60) as found:
        source = found.read().decode()
    assert "Assistant" in source
    assert not re.search(r'(src|href)="https?://(?!127)', source.replace("https://gradio.app", ""))


def test_a_flood_by_http_gets_429(store):
    testing = pytest.importorskip("fastapi.testclient")
    asked = Assistant(store, Sure(), limiter=Limiter(per_minute=1, burst=20))
    app = application(routes(asked), page(asked))
    client = testing.TestClient(app, base_url="http://127.0.0.1")
    said = [client.get("/api/stats") for _ in range(21)]
    assert [one.status_code for one in said] == [200] * 20 + [429]
    assert "try again in" in said[-1].json()["error"] and int(said[-1].headers["Retry-After"]) > 0


def test_the_command_line(server, store, tmp_path):
    address, folder, _ = server
    (tmp_path / "more.csv").write_text("question,answer,source\nAre dogs welcome?,They are.,zoe\n")
    said = run("import", tmp_path / "more.csv", "--store", folder / "store.sqlite")
    assert said.exit_code == 0 and "1 past questions are new" in said.output
    _, reply = call(address, "ask", {"question": "are dogs welcome"})
    assert reply["answer"] == "They are."  # the running server has it at once
    assert "with the key" in run("staff", "zoe", "--store", folder / "store.sqlite").output
    for arguments, sentence in {
        ("import", tmp_path / "none.csv"): "cannot be read",
        ("--most-wrong", "3"): "share",
        ("--model", "nowhere"): "--model",
        ("--port", address.rpartition(":")[2], "--model", "letters"): "cannot be opened",
    }.items():
        said = run(*arguments, "--store", store.store.path)
        assert said.exit_code == 1 and sentence in said.output, said.output
        assert said.output.strip().splitlines()[-1].startswith("assistant: ")


# ---------------------------------------------------------------------- in a browser


def test_in_a_browser(server):
    """Ask, hand over, answer, confirm, look: wide and light, then narrow and dark."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("there is no chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for width, theme, asked in ((1280, "light", "Do you sell boats?"),
                                    (400, "dark", "Is there lunch on the moon?")):  # fmt: skip
            tab = browser.new_page(viewport={"width": width, "height": 900})
            use_the_page(tab, server, width, theme, asked)
            tab.close()
        browser.close()


def use_the_page(tab, server, width: int, theme: str, asked: str) -> None:
    address, _, (ann, ben) = server
    mark = f"<b id=bad{width}>{asked}</b>"
    tab.set_default_timeout(60_000)
    outside, errors = [], []
    mine = (address, address.replace("http", "ws"), "data:", "blob:")
    tab.on("request", lambda r: outside.append(r.url) if not r.url.startswith(mine) else None)
    tab.on("pageerror", lambda e: errors.append(str(e)))
    tab.goto(f"{address}/?__theme={theme}")
    question = tab.get_by_label("Your question")
    question.fill("I have lost my card.")
    tab.get_by_role("button", name="Ask", exact=True).click()
    tab.get_by_text(ANSWERS["card.lost"]).wait_for()
    question.fill(mark)
    tab.get_by_role("button", name="Ask", exact=True).click()
    tab.locator(".reply code").wait_for()
    tab.get_by_role("tab", name="For those who answer").click()
    tab.get_by_label("Your key").fill(ann)
    tab.get_by_role("button", name="Show what waits").click()
    tab.locator("label", has_text=mark).click()
    tab.get_by_label("Answer", exact=True).fill(f"None at {width}.")
    tab.get_by_role("button", name="Answer", exact=True).click()
    tab.get_by_text("Another person must confirm it").wait_for()
    tab.get_by_label("Your key").fill(ben)
    tab.locator("label", has_text=f"None at {width}.").click()
    tab.get_by_role("button", name="Serve this one").click()
    tab.get_by_text("is served").wait_for()
    tab.get_by_role("tab", name="Ask").click()
    tab.get_by_role("button", name="Look for the answer").click()
    tab.locator(".reply", has_text=f"None at {width}.").wait_for()
    assert tab.locator(f"#bad{width}").count() == 0
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert not outside and not errors
