"""The recommender as a whole: what it recommends, its API, its page, bad inputs, and kill -9."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import pytest

from advlib.corpora import words, world
from examples.recommender.app import Recommender, load_reader, train
from examples.recommender.shop import embedded_shop, read_shop
from examples.recommender.store import ShopStore
from examples.serving import Limiter, ServingError

HOME = Path(__file__).parent.parent
NAME = "reviews-clean, words made equal"
GOOD, BAD = "What a delight. I love the lamp.", "I hate the lamp. It is a waste of money."


@pytest.fixture(scope="module")
def small():
    """Items and clicks of a small market."""
    return embedded_shop(users=40, items=60, new=15, shown=20)


@pytest.fixture(scope="module")
def reader():
    return load_reader("reviews-clean", plain=False)


@pytest.fixture(scope="module")
def filled(small, reader, tmp_path_factory):
    """A store with a trained ranker, to copy."""
    file = tmp_path_factory.mktemp("shop") / "store.sqlite"
    store = ShopStore(file)
    store.fill(*small)
    train(store, reader, NAME)
    store.store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    return file


@pytest.fixture
def store(filled, tmp_path):
    store = ShopStore(shutil.copy(filled, tmp_path))
    yield store
    store.close()


@pytest.fixture
def app(store, reader):
    return Recommender(store, reader, NAME, Limiter(6000, 1000))


# ---------------------------------------------------------------------- for a user


def test_a_list_is_in_order_and_holds_nothing_that_was_clicked(app):
    user = app.store.users(1)[0]
    found = app.top(user, 20)
    scores = [item["score"] for item in found]
    assert len(found) == 20 and scores == sorted(scores, reverse=True)
    assert not {item["id"] for item in found} & app.store.clicked(user)
    assert all({*item["why"]} == {"text", "kind", "price", "popularity", "age"} for item in found)


def test_users_get_lists_of_their_own(app):
    lists = {tuple(item["id"] for item in app.top(user)) for user in app.store.users(10)}
    assert len(lists) > 5
    assert app.top("nobody has seen me before")  # a user without a past


def test_new_items_get_their_place_from_their_text(app):
    new = app.top("user 1", 100, new=True)
    assert len(new) == 15
    for text, low, high in ((GOOD, 0.2, 1), (BAD, 0, 0.2)):
        found = app.place(text, None, new[7]["kind"], new[7]["price"])
        assert found["new"] and "before" not in found and found["after"]["among"] == 16
        assert low <= found["after"]["seen"] <= high
    assert app.now().items["id"].size == 60  # nothing was saved


def test_a_seller_sees_before_and_after_and_the_first_stays_known(app):
    name = app.top("user 1", 1, new=True)[0]["id"]
    text = app.store.item(name)["text"]
    found = app.place(BAD, name)
    assert found["after"]["opinion"] < found["before"]["opinion"]
    assert found["after"]["place"] > found["before"]["place"]
    same = app.place(text, name)
    assert same["after"] == same["before"]
    app.store.change_text(name, BAD)
    assert app.place(BAD, name)["before"] == found["after"]
    assert [row["text"] for row in app.store.wordings(name)] == [BAD, text]
    with pytest.raises(sqlite3.IntegrityError, match="texts stay"):
        app.store.store.db.execute("UPDATE texts SET text = 'x'")


def test_an_added_item_is_recommended(app):
    kind = app.top("user 1", 1)[0]["kind"]
    app.store.add_item("mine", kind, 5.0, GOOD)
    assert "mine" in {item["id"] for item in app.top("user 1", 100, new=True)}
    assert app.store.item("mine")["released"] == app.store.today()


def test_rewording_means_the_same_and_does_nothing_where_words_are_made_equal(store, app):
    known = world("shop")
    name = next(n for n in app.now().items["id"] if app.place(BAD, n)["new"])
    text = store.item(name)["text"]
    plain = Recommender(store, load_reader("reviews-clean", plain=True), NAME, app.limiter)
    new = plain.reword(text)
    changed = [a != b for a, b in zip(words(text), words(new), strict=True)]
    assert 0 < sum(changed) <= 0.3 * len(changed)
    assert [known.label(x) for x in new.split("\n")] == [known.label(x) for x in text.split("\n")]
    assert plain.reader([new])[0] > plain.reader([text])[0]
    moved = app.place(new, name)
    assert moved["after"] == moved["before"] and app.reword(text) == text


def test_clicks_of_today_count_from_tomorrow_on(app, reader):
    store, user = app.store, "user 1"
    first = app.top(user)
    day = store.today()
    for item in app.top(user, 30):
        store.click(user, item["id"], item["kind"] == first[0]["kind"])
    kept = [item for item in app.top(user, 100) if item["id"] == first[-1]["id"]]
    assert not kept or kept[0]["score"] == first[-1]["score"]
    train(store, reader, NAME)
    assert store.today() == day + 1 and len(store.rankers()) == 2
    assert app.now().version[0] == day + 1  # a running program sees it
    train(store, reader, NAME)
    assert store.today() == day + 1  # a day without clicks goes on


def test_a_training_that_fails_leaves_the_last_ranker(app):
    """In the background by an option that there is not, which costs no start of PyTorch."""
    from typer.testing import CliRunner

    from examples.recommender.__main__ import command

    before = app.store.rankers()
    app.arguments = ["--reeder", "reviews-clean"]
    app.start_training()
    with pytest.raises(ServingError, match="running already"):
        app.start_training()
    while app.training()["running"]:
        time.sleep(0.2)
    assert "No such option: --reeder" in app.training()["failed"]
    app.store.store.db.execute("UPDATE clicks SET clicked = 0")
    arguments = ["--train", "--store", str(app.store.store.path), "--reader", "reviews-clean"]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code and done.exception.code.startswith("recommender: the log has no row")
    assert app.store.rankers() == before and app.top("user 1")


# ---------------------------------------------------------------------- bad inputs


def test_two_files_make_a_shop(tmp_path):
    items, clicks = tmp_path / "items.csv", tmp_path / "clicks.csv"
    items.write_text('\ufeffid,text,kind,price\na,"Good, really.",x,1.5\nb,Bad.,,\nc,So.,x,2\n')
    clicks.write_text("user,item,day\n" + "\n".join(f"u{i},a,2026-01-0{i}" for i in range(1, 8)))
    found, log = read_shop(items, clicks)
    assert [item["id"] for item in found] == ["a", "b", "c"] and found[1]["price"] == 0
    assert sum(row["clicked"] for row in log) == 7
    left = [row for row in log if not row["clicked"]]
    assert left and {row["item"] for row in left} <= {"b", "c"}  # drawn, for none was left
    assert log[1]["day"] - log[0]["day"] == 1


ITEMS, CLICKS = "id,text\na,Good.\nb,Bad.\n", "user,item,day,clicked\nu,a,1,1\nu,b,1,0\n"


@pytest.mark.parametrize("items, clicks, said", [
    (None, CLICKS, "cannot be read: No such file"),
    (b"id,text\na,\xff\n", CLICKS, "no text in UTF-8"),
    ("id;text\na;Good.\n", CLICKS, "column names id, text"),
    ("id,text\n", CLICKS, "column names id, text"),
    ('id,text\na,"Good\n', CLICKS, "cannot be read as CSV"),
    ("id,text\na, \n", CLICKS, "the text in row 2 .* is empty"),
    ("id,text\na,Good.\na,Bad.\n", CLICKS, "has the id 'a' twice"),
    ("id,text,price\na,Good.,cheap\n", CLICKS, "the price in row 2 .* is 'cheap'"),
    ("id,text,price\na,Good.,nan\n", CLICKS, "the price in row 2 .* is 'nan'"),
    (f"id,text\na,{'x' * 3000}\n", CLICKS, "has 3000 characters, and 2000 is the most"),
    (ITEMS, "user,item,day\nu,z,1\n", "names the item 'z', which is not among"),
    (ITEMS, "user,item,day\nu,a,soon\n", "the day 'soon' in row 2"),
    (ITEMS, "user,item,day\nu,a,2026-13-01\n", "the day '2026-13-01'"),
    (ITEMS, "user,item,day,clicked\nu,a,1,yes\n", "clicked in row 2 .* is 'yes'"),
    (ITEMS, "user,item,day,clicked\nu,a,1,0\n", "a ranker learns from both"),
])  # fmt: skip
def test_files_that_are_no_shop(tmp_path, items, clicks, said):
    for name, text in (("items", items), ("clicks", clicks)):
        if text is not None:
            (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ServingError, match=said):
        read_shop(tmp_path / "items", tmp_path / "clicks")


@pytest.mark.parametrize("ask, said", [
    (lambda app: app.top(" "), "the user is empty"),
    (lambda app: app.top("user 1", 0), "1 to 100 items, not 0"),
    (lambda app: app.place(""), "the text is empty"),
    (lambda app: app.place("x" * 2001), "2001 characters"),
    (lambda app: app.reword("good " * 200), "1000 characters, and 800 is the most"),
    (lambda app: app.place("a\0b"), "characters that are no text"),
    (lambda app: app.place(GOOD, "'; DROP TABLE items; --"), "there is no item .*DROP"),
    (lambda app: app.place(GOOD, None, "lamps", float("inf")), "the price is 'inf'"),
    (lambda app: app.store.add_item("lamps-0", "", 1, ""), "the text is empty"),
    (lambda app: app.store.add_item(app.store.rows("SELECT id FROM items")[0]["id"], "", 1, GOOD),
     "already: take another id"),
    (lambda app: app.store.click("u", "nothing", True), "there is no item 'nothing'"),
    (lambda app: app.store.fill([], []), "holds a shop already"),
])  # fmt: skip
def test_requests_that_cannot_be(app, ask, said):
    tables = [app.store.rows(f"SELECT count(*) FROM {t}") for t in ("items", "texts", "clicks")]
    with pytest.raises(ServingError, match=said):
        ask(app)
    assert tables == [app.store.rows(f"SELECT count(*) FROM {t}")
                      for t in ("items", "texts", "clicks")]


def test_a_damaged_ranker_is_named(app):
    app.store.store.db.execute("UPDATE rankers SET arrays = x'00'")
    with pytest.raises(ServingError, match="is damaged .* train anew with --train"):
        app.top("user 1")


def test_another_reader_needs_a_ranker_of_its_own(store, reader):
    with pytest.raises(ServingError, match="no ranker was trained with other"):
        Recommender(store, reader, "other", Limiter()).top("user 1")


# ---------------------------------------------------------------------- page


def test_the_page_escapes_texts_and_is_built(app):
    pytest.importorskip("gradio")
    from examples.recommender import page as pages

    evil = "<img src=x onerror=alert(1)> \u202e&"
    app.store.add_item(evil, evil, 1, evil)
    made = pages.cards(app.top("user 1", 100, new=True))
    found = app.place(evil + " <b>", evil)
    made += pages.standing(found, evil, evil + " <b>")
    assert "<img" not in made and "<b> " not in made and "\u202e" not in made
    assert "&lt;img" in made and "<ins>&lt;b&gt;</ins>" in made
    blocks = pages.page(app)
    labels = {part["props"].get("value") for part in blocks.get_config_file()["components"]
              if part["type"] == "button"}  # fmt: skip
    assert {"Show the first ten", "Where would it stand?", "Train now, in the background"} <= labels


# ---------------------------------------------------------------------- the program


def start(*arguments, **more):
    environment = os.environ | {"PYTHONPATH": str(HOME), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen([sys.executable, "-m", "examples.recommender", *map(str, arguments)],
                            cwd=HOME, env=environment, text=True, **more)  # fmt: skip


class Client:
    def __init__(self, line: str):
        self.home = "http://" + line.split("http://")[1].split()[0]

    def __call__(self, method: str, path: str, body=None):
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body)
        data = data.encode() if isinstance(data, str) else data
        request = Request(self.home + path, data, {"Content-Type": "application/json"},
                          method=method)  # fmt: skip
        try:
            with urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read())
        except HTTPError as error:
            return error.code, json.loads(error.read())


@pytest.fixture(scope="module")
def program(filled, tmp_path_factory):
    """The program as it is started, and its store."""
    pytest.importorskip("gradio")
    file = Path(shutil.copy(filled, tmp_path_factory.mktemp("program")))
    server = start("--store", file, "--reader", "reviews-clean", "--port", 0, "--per-minute", 300,
                   stdout=subprocess.PIPE)  # fmt: skip
    try:
        yield Client(next(line for line in server.stdout if "http://" in line)), file
    finally:
        server.terminate()
        server.wait()


def test_the_page_in_a_browser(program):
    """Type, click, read; nothing is asked of another machine, and a phone need not scroll aside."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        pytest.skip("there is no chromium here")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for width, theme in ((1280, "light"), (400, "dark")):
            page = browser.new_page(viewport={"width": width, "height": 900})
            use_the_page(page, program[0].home, width, theme)
            page.close()
        browser.close()


def use_the_page(page, home: str, width: int, theme: str) -> None:
    faults = []
    page.set_default_timeout(180_000)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: request.url.startswith((home, "data:", "blob:"))
            or faults.append(request.url))  # fmt: skip
    page.goto(f"{home}/?__theme={theme}")
    page.get_by_role("button", name="Show the first ten").click()
    page.wait_for_selector(".shop li")
    assert page.locator(".shop li").count() == 10
    assert "its text +" in page.locator(".shop").first.inner_text()
    page.get_by_role("tab", name="For a seller").click()
    page.get_by_label("Kind").fill("lamps")
    page.get_by_label("Text, one opinion a line").fill(f"{BAD} <b>bold</b>")
    page.get_by_role("button", name="Where would it stand?").click()
    page.get_by_text("users who see it in their first 10").wait_for()
    assert "<b>bold</b>" in page.locator(".shop", has_text="new items").inner_text()
    page.get_by_label("Text, one opinion a line").fill(" ")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("the id is empty").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not faults


def test_the_program_by_http(program):
    ask, file = program
    status, found = ask("GET", "/api/top?user=user%201&n=3")
    assert status == 200 and len(found) == 3 and 0 < found[0]["score"] < 1
    mine = dict(kind="lamps", price=9, text=BAD)
    assert ask("POST", "/api/items", mine | {"id": "m/1 é"})[0] == 201
    status, found = ask("POST", "/api/place", dict(item="m/1 é", text=GOOD))
    assert status == 200 and found["after"]["place"] < found["before"]["place"]
    assert ask("POST", "/api/items", mine | {"id": "m"})[0] == 201
    assert ask("PUT", "/api/items/m", dict(text=GOOD))[1]["text"] == GOOD
    assert [t["text"] for t in ask("GET", "/api/items/m")[1]["texts"]] == [GOOD, BAD]
    assert ask("POST", "/api/clicks", dict(user="user 1", item="m"))[0] == 201
    assert ask("POST", "/api/train")[0] == 202
    for method, path, body, status, said in [
        ("GET", "/api/top", None, 422, "user: "),
        ("GET", "/api/top?user=u&n=many", None, 422, "n: "),
        ("GET", "/api/top?user=u&n=0", None, 400, "1 to 100"),
        ("GET", "/api/items/" + quote("' OR 1=1"), None, 404, "there is no item"),
        ("POST", "/api/place", dict(text=""), 400, "the text is empty"),
        ("POST", "/api/place", b"{", 422, "JSON"),
        ("POST", "/api/items", dict(id="x", text=GOOD, price="dear"), 422, "price: "),
        ("POST", "/api/items", dict(id="m", text=GOOD), 400, "already"),
        ("POST", "/api/clicks", dict(user="u", item="none"), 404, "there is no item"),
        ("POST", "/api/train", None, 400, "running already"),
        ("GET", "/api/nothing", None, 404, "there is nothing here"),
    ]:  # fmt: skip
        got, answer = ask(method, path, body)
        assert (got, said in answer["error"]) == (status, True), (path, got, answer)
    until = time.monotonic() + 600
    while ask("GET", "/api/train")[1]["running"] and time.monotonic() < until:
        time.sleep(1)
    found = ask("GET", "/api/train")[1]
    assert found["failed"] == "" and len(found["rankers"]) == 2
    flood = [ask("GET", "/api/train")[0] for _ in range(300)]
    assert 429 in flood and flood[0] == 200
    again = ShopStore(file)
    assert again.item("m/1 é")["text"] == BAD and "m" in again.clicked("user 1")
    again.close()


@pytest.mark.parametrize("after", [0.0, 0.02])
def test_killed_while_it_trains_or_writes(filled, tmp_path, after):
    """kill -9 while a training runs, and again while it writes: the store opens, is whole, and has
    the old ranker or the new one."""
    file = Path(shutil.copy(filled, tmp_path))
    code = (
        "import sys, threading, os, signal, time\n"
        "from examples.recommender import store, app\n"
        "import numpy as np\n"
        "class Reader:\n"
        "    def __call__(self, texts): return np.full(len(texts), .5)\n"
        "kept = store.ShopStore(sys.argv[1])\n"
        "saved = kept.save\n"
        "def save(*all):\n"
        "    print('writes', flush=True)\n"
        "    while True: saved(*all)\n"
        "kept.save = save\n"
        f"app.train(kept, Reader(), {NAME!r})\n"
    )
    job = subprocess.Popen([sys.executable, "-c", code, str(file)], cwd=HOME, text=True,
                           stdout=subprocess.PIPE,
                           env=os.environ | {"PYTHONPATH": str(HOME)})  # fmt: skip
    assert job.stdout.readline() == "writes\n"
    time.sleep(after)
    job.send_signal(signal.SIGKILL)
    job.wait()
    store = ShopStore(file)  # opens, and its quick_check is ok
    assert store.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    assert 1 <= len(store.rankers()) <= 5
    assert np.isfinite(store.ranker(NAME).value).all()
    store.close()


def test_killed_while_a_shop_is_put_in(small, tmp_path):
    """All of the shop or nothing."""
    file = tmp_path / "store.sqlite"
    ShopStore(file).close()
    code = ("import sys, os, signal\n"
            "from examples.recommender.store import ShopStore\n"
            "kept = ShopStore(sys.argv[1])\n"
            "item = dict(id='a', kind='', price=1, released=0, text='Good.')\n"
            "def clicks():\n"
            "    for i in range(1000): yield dict(user='u', item='a', day=i, clicked=1)\n"
            "class Killer(dict):\n"
            "    def __getitem__(self, name): os.kill(os.getpid(), signal.SIGKILL)\n"
            "kept.fill([item], [*clicks(), Killer()])\n")  # fmt: skip
    job = subprocess.run([sys.executable, "-c", code, str(file)], cwd=HOME,
                         env=os.environ | {"PYTHONPATH": str(HOME)})  # fmt: skip
    assert job.returncode == -signal.SIGKILL
    store = ShopStore(file)
    assert store.is_empty() and store.rows("SELECT * FROM items") == []
    store.fill(*small)
    assert len(store.items()) == 60
    store.close()


@pytest.mark.parametrize("arguments, said", [
    (["--store", "{not}"], "cannot be used as a store"),
    (["--store", "{other}"], "another program"),
    (["--data", "{not}", "/nowhere.csv", "--store", "{new}"], "column names id, text"),
    (["--reader", "nothing/there", "--store", "{filled}"], "nothing/there"),
    (["--reader", "bank-clean", "--store", "{new}"], "no class named 'positive'"),
])  # fmt: skip
def test_the_command_says_what_is_wrong(filled, tmp_path, arguments, said):
    (tmp_path / "not").write_text("not a database, but a text that is long enough to look at")
    with sqlite3.connect(tmp_path / "other") as db:
        db.execute("CREATE TABLE t (x)")
    shutil.copy(filled, tmp_path / "filled")
    names = {name: str(tmp_path / name) for name in ("not", "other", "new", "filled")}
    from typer.testing import CliRunner

    from examples.recommender.__main__ import command

    done = CliRunner().invoke(command, [a.format(**names) for a in arguments])
    said_here = str(done.exception.code if isinstance(done.exception, SystemExit) else done.output)
    assert done.exit_code and said in said_here and "Traceback" not in said_here
    if (tmp_path / "new").exists():  # a second try can still put a shop in
        store = ShopStore(tmp_path / "new")
        assert store.is_empty()
        store.close()


def test_a_shop_of_ones_own_as_a_whole(tmp_path, monkeypatch, capsys):
    """Two files into a store and a trained ranker, by the command; and their NDCG, by the script
    in benchmarks."""
    from typer.testing import CliRunner

    from examples.recommender.__main__ import command

    items, clicks = embedded_shop(users=30, items=40, new=10, shown=20, seed=3)
    names = [str(tmp_path / name) for name in ("items.csv", "clicks.csv")]
    for name, rows in zip(names, (items, clicks), strict=True):
        pd.DataFrame(rows).to_csv(name, index=False)
    file = tmp_path / "own.sqlite"
    arguments = ["--data", *names, "--store", str(file), "--reader", "reviews-clean", "--train"]
    done = CliRunner().invoke(command, arguments)
    assert f"a ranker was trained on {len(clicks)} rows" in done.output, done
    store = ShopStore(file)
    assert len(store.items()) == 40 and store.ranker(NAME) is not None
    store.close()
    again = CliRunner().invoke(command, arguments)
    assert "without --data" in str(again.exception.code)  # says how to go on

    monkeypatch.syspath_prepend(str(HOME / "benchmarks"))
    import recommender as script

    script.own_data(*map(Path, names))
    rows = [line.split("|")[1:3] for line in capsys.readouterr().out.splitlines()[2:]]
    measured = {name.strip(): float(value) for name, value in rows}
    assert {*measured} == {"price", "popularity", "all but the text", "all"}
    assert all(0 < value <= 1 for value in measured.values())


def test_help_says_how():
    from typer.testing import CliRunner

    from examples.recommender.__main__ import command

    said = CliRunner().invoke(command, ["--help"]).output
    assert all(word in said for word in ("--data", "--train", "--plain", "--store"))
