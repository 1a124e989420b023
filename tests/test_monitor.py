"""The news monitor: feeds, clock, store, charts, alarms, the whole program, and being killed."""

import json
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from monitor_stories import NOW, QUICK, calm, sensor, stories

from advlib.corpora import news
from advlib.models import load_classifier
from advlib.systems import charts
from examples.monitor import app, channels, feeds, play, store
from examples.monitor.app import Monitor, Settings
from examples.monitor.feeds import FeedError, Item, read_feed
from examples.monitor.sensor import OTHER, Reading, news_sensor, own_sensor
from examples.serving import ServingError, open_store

pytest.importorskip("feedparser")


def rss(*items: str) -> str:
    return ("<?xml version='1.0'?><rss version='2.0'><channel><title>news</title>"
            + "".join(items) + "</channel></rss>")  # fmt: skip


def entry(title: str, guid: str = "", date: str = "Mon, 02 Nov 2026 10:00:00 GMT") -> str:
    name = f"<guid>{guid}</guid>" if guid else ""
    return f"<item><title>{title}</title>{name}<pubDate>{date}</pubDate></item>"


@pytest.fixture
def written(tmp_path):
    def write(content: str | bytes, name: str = "feed.xml"):
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(file)

    return write


# ---------------------------------------------------------------------- feeds


def test_reads_rss_atom_and_json_lines(written):
    atom = ("<feed xmlns='http://www.w3.org/2005/Atom'><title>t</title><entry><title>Aino fell"
            "</title><id>urn:1</id><updated>2026-03-29T03:30:00+03:00</updated></entry></feed>")
    lines = '{"guid": "a", "text": "Aino fell", "published": "2026-03-29T00:30:00Z"}\n\n'
    rows = [read_feed(written(rss(entry("Aino fell", "1", "Sun, 29 Mar 2026 03:30:00 EEST"))), NOW),
            read_feed(written(atom), NOW), read_feed(written(lines, "x.jsonl"), NOW),
            read_feed(written(lines.encode(), "no-ending"), NOW)]  # fmt: skip
    for items, notes in rows:
        assert [(i.text, i.published) for i in items] == [
            ("Aino fell", datetime(2026, 3, 29, 0, 30, tzinfo=UTC))
        ]
        assert not notes and items[0].published.utcoffset() == timedelta(0)


@pytest.mark.parametrize("said, utc, how", [
    ("Sun, 25 Oct 2026 02:30:00 CEST", "2026-10-25T00:30", "yes"),  # the hour that comes twice:
    ("Sun, 25 Oct 2026 02:30:00 CET", "2026-10-25T01:30", "yes"),  # summer first, then winter
    ("Sun, 01 Nov 2026 01:30:00 EDT", "2026-11-01T05:30", "yes"),
    ("Sun, 01 Nov 2026 01:30:00 EST", "2026-11-01T06:30", "yes"),
    ("2026-11-02T10:00:00+05:30", "2026-11-02T04:30", "yes"),
    (1793613600, "2026-11-02T10:00", "yes"),
    ("Mon, 02 Nov 2026 10:00:00 BST", "2026-11-02T10:00", "no time zone"),  # stands for two
    ("Mon, 02 Nov 2026 10:00:00", "2026-11-02T10:00", "no time zone"),
    ("2026-11-02 10:00", "2026-11-02T10:00", "no time zone"),
    ("2026-11-29T12:04:00Z", "2026-11-29T12:00", "yes"),  # clocks differ a little
    ("2026-11-29T12:06:00Z", "2026-11-29T12:00", "a date in the future"),
    ("9999-12-31T23:59:59-10:00", "2026-11-29T12:00", "no readable date"),
    ("Thu, 01 Jan 1970 00:00:00 GMT", "2026-11-29T12:00", "a date before 1995"),
    ("yesterday", "2026-11-29T12:00", "no readable date"),
    ([2026], "2026-11-29T12:00", "no readable date"),
    (True, "2026-11-29T12:00", "no readable date"),
    (1e300, "2026-11-29T12:00", "no readable date"),
    (None, "2026-11-29T12:00", "no date"),
])  # fmt: skip
@pytest.mark.parametrize("here", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_times_are_utc_wherever_the_machine_is(said, utc, how, here, monkeypatch):
    monkeypatch.setenv("TZ", here)
    if hasattr(time, "tzset"):
        time.tzset()
    try:
        found, why = feeds.dated(said, NOW)
        assert (found, why) == (datetime.fromisoformat(utc + "+00:00"), how)
    finally:
        monkeypatch.undo()
        if hasattr(time, "tzset"):
            time.tzset()


def test_the_store_takes_no_time_without_a_zone():
    with pytest.raises(ValueError, match="no time zone"):
        store.stamp(datetime(2026, 1, 1))
    # Text that sorts as time does, whatever the zone was.
    east, west = (datetime.fromisoformat(f"2026-01-01T0{h}:00:00{z}") for h, z in
                  ((3, "+05:00"), (1, "-05:00")))  # fmt: skip
    assert east < west and store.stamp(east) < store.stamp(west)
    assert store.moment_of(store.stamp(east)) == east


BAD_FEEDS = {
    "no feed": ("hello", "no RSS or Atom feed"),
    "empty": ("", "no RSS or Atom feed"),
    "a page": ("<html><body>404</body></html>", "no RSS or Atom feed"),
    "entities": (rss().replace("?>", "?><!DOCTYPE x [<!ENTITY a 'b'>]>", 1), "entities"),
    "too large": (" " * (feeds.LARGEST + 1), "more than"),
    "no UTF-8": (b'{"text": "caf\xe9"}', "UTF-8"),
}


@pytest.mark.parametrize("name", BAD_FEEDS)
def test_a_bad_feed_gets_one_sentence(name, written):
    content, said = BAD_FEEDS[name]
    with pytest.raises(FeedError, match=said) as error:
        read_feed(written(content), NOW)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("where, said", [
    ("missing.xml", "cannot be read"), (".", "cannot be read"), ("ftp://h/x", "http"),
    ("file:///etc/passwd", "http"), ("http://", "http"), ("https://[x", "http"),
    ("http://127.0.0.1:1/x", "cannot be reached"),
])  # fmt: skip
def test_a_bad_place_gets_one_sentence(where, said):
    with pytest.raises(ServingError, match=said):
        read_feed(where, NOW)


def test_single_bad_items_are_said_and_the_others_read(written):
    cut = rss(entry("one", "1"), entry("two", "2", ""), entry("", "3"))[:-12]
    items, notes = read_feed(written(cut), NOW)
    assert {i.text for i in items} == {"one", "two"}
    said = " ".join(notes)
    assert "no text" in said and "no date" in said and "breaks off" in said
    items, notes = read_feed(written('{"text": "ok"}\n[]\n{x\n' + "[" * 9999, "a.jsonl"), NOW)
    assert [i.text for i in items] == ["ok"] and "no JSON object, left out (3 times)" in str(notes)


def test_text_is_one_line_without_tags():
    said = "A &lt;b&gt;rise&lt;/b&gt;\n <script>of</script>\x00\u202e 3 &amp; 4 %\ud800" + "x" * 999
    found = feeds.plain(said)
    assert found.startswith("A rise of 3 & 4 % x") and len(found) == feeds.LONGEST
    assert feeds.plain(None) == feeds.plain(" \n") == ""


def test_an_item_without_a_name_keeps_the_one_it_is_given(written):
    where = written(rss(entry("Aino fell", date=""), entry("Aino rose", "x" * 300)))
    first, _ = read_feed(where, NOW)
    again, _ = read_feed(where, NOW + timedelta(days=1))
    assert {i.guid for i in first} == {i.guid for i in again} and len({i.guid for i in first}) == 2


class Answer(BaseHTTPRequestHandler):
    """A server on this machine: /news is a feed, /away leads elsewhere, /slow never ends."""

    def do_GET(self):
        if self.path == "/news":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(rss(entry("Aino fell", "1")).encode())
        elif self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
        elif self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            try:
                while not self.server.stopped.wait(0.05):
                    self.wfile.write(b" ")
            except OSError:
                pass
        else:
            self.send_error(500)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, body))
        if self.path == "/moved":
            self.send_response(307)
            self.send_header("Location", "/hook")
        else:
            self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def loopback(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    server = HTTPServer(("127.0.0.1", 0), Answer)
    server.got, server.status, server.stopped = [], 204, threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.address = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.stopped.set()
    server.shutdown()
    server.server_close()


def test_reads_an_address_and_gives_up_on_a_slow_one(loopback, monkeypatch):
    assert [i.text for i in read_feed(f"{loopback.address}/news", NOW)[0]] == ["Aino fell"]
    with pytest.raises(FeedError, match="error 500"):
        read_feed(f"{loopback.address}/other", NOW)
    with pytest.raises(FeedError, match="http"):
        read_feed(f"{loopback.address}/away", NOW)
    monkeypatch.setattr(feeds, "PATIENCE", 0.5)
    with pytest.raises(FeedError, match="no answer within 0.5 s"):
        read_feed(f"{loopback.address}/slow", NOW)


# ---------------------------------------------------------------------- the monitor


@pytest.fixture
def monitor(tmp_path):
    with open_store(tmp_path / "store.sqlite", store.SCHEMA) as opened:
        yield Monitor(opened, sensor, QUICK, clock=lambda: NOW)


def everything(monitor) -> dict:
    tables = ("items", "keys", "watches", "points", "alarms", "deliveries")
    return {t: monitor.store.rows(f"SELECT * FROM {t} ORDER BY 1, 2") for t in tables}


def test_replaying_changes_nothing(monitor):
    items = stories(calm(60) + ["fell"] * 20)
    first = monitor.take(items)
    assert first["new"] == 80 and first["alarms"] >= 1
    before = everything(monitor)
    assert monitor.take(items) == Counter(new=0, known=80, repeated=0, alarms=0)
    assert monitor.take(items[:3] + items[:3])["new"] == 0
    assert everything(monitor) == before


def test_the_same_name_twice_in_one_reading_counts_once(monitor):
    one = stories(["rose"])[0]
    assert monitor.take([one, one])["new"] == 1


def test_a_feed_cannot_take_the_names_of_another(monitor):
    monitor.take(stories(["rose"] * 3, source="rival"))
    other = [Item("s", i.guid, i.published, i.text + " another story told here at length today")
             for i in stories(["fell"] * 3)]  # fmt: skip
    assert monitor.take(other)["new"] == 3


def test_one_story_under_many_names_counts_once(monitor):
    monitor.take(stories(calm(50)))
    text = "banks fell as the profit of Aino was lower than in the year before"
    wire = [Item("s", f"w{k}", NOW, text.replace("lower", word))
            for k, word in enumerate(("lower", "smaller", "worse", "weaker"))]  # fmt: skip
    counts = monitor.take(wire)
    assert counts["repeated"] == 3 and not counts["alarms"]
    assert len(monitor.chart("banks", "bad news", "cusum")["points"]) == 1
    late = Item("s", "late", NOW - timedelta(days=3), text)
    assert monitor.take([late])["repeated"] == 0  # beyond the window it is another story


def test_a_harmless_twin_does_not_keep_the_bad_story_from_being_counted(monitor):
    monitor.take(stories(calm(50)))
    text = "banks rose as the profit of Aino was compared with the year before"
    monitor.take([Item("rival", "1", NOW, text)])
    assert monitor.take([Item("s", "1", NOW, text.replace("rose", "fell"))])["repeated"] == 0


def test_charts_are_those_of_the_library(monitor):
    hits = calm(50) + calm(40, 0.4, seed=1)
    monitor.take(stories(hits))
    learned = sum(h == "fell" for h in hits[:50])
    for name in app.CHARTS:
        found = monitor.chart("banks", "bad news", name)
        assert found["p0"] == app.usual(learned, 50) >= learned / 50
        chart = app.chart_of(name, found["p0"], QUICK)
        s, path = chart.start, []
        for hit in hits[50:]:
            s = float(chart.step(s, float(hit == "fell")))
            path.append(s)
            s = chart.start if s >= found["threshold"] else s
        assert [p["statistic"] for p in found["points"]] == pytest.approx(path)


def test_other_settings_begin_the_charts_anew_and_keep_what_is_usual(monitor):
    monitor.take(stories(calm(60)))
    before = monitor.store.rows("SELECT * FROM watches")
    assert any(w["statistic"] for w in before)
    Monitor(monitor.store, sensor, QUICK)
    assert monitor.store.rows("SELECT * FROM watches") == before
    Monitor(monitor.store, sensor, Settings(between=200, learn=50))
    after = monitor.store.rows("SELECT * FROM watches")
    for old, new in zip(before, after, strict=True):
        assert new["p0"] == old["p0"] and new["threshold"] > old["threshold"]


def test_keys_of_old_stories_are_forgotten(monitor):
    items = stories(calm(40))
    monitor.take(items)
    assert len(monitor.store.rows("SELECT DISTINCT item FROM keys")) == 40
    later = Item("s", "later", items[0].published + timedelta(hours=24, minutes=20), "banks rose")
    monitor.take([later])
    assert len(monitor.store.rows("SELECT DISTINCT item FROM keys")) == 21


def test_odds():
    p1 = app.worse(0.1, 3)
    assert p1 / (1 - p1) == pytest.approx(3 * 0.1 / 0.9)


def test_the_stated_items_between_false_alarms_hold_for_all_charts_together(tmp_path):
    """Charts that know the calm rate, two kinds of hits that are independent: joint rate kept."""
    heights = {}
    rng = np.random.default_rng(3)
    x = {kind: (rng.random((300, 2500)) < p).astype(float)
         for kind, p in (("bad news", 0.15), ("near misses", 0.02))}  # fmt: skip
    first = np.full(300, np.inf)
    for kind, p in (("bad news", 0.15), ("near misses", 0.02)):
        for chart in (charts.Cusum(p, app.worse(p, 3)), charts.Ewma(p, 0.05)):
            heights[kind, chart] = app.threshold(chart, 300)
            found = charts.delays(charts.path(chart, x[kind]), heights[kind, chart])
            first = np.minimum(first, found)
    mean = np.minimum(first, 2500).sum() / np.isfinite(first).sum()
    assert mean > 0.9 * 300


def test_alarms_have_a_cool_down_and_none_is_lost(tmp_path):
    sent = []
    with open_store(tmp_path / "s.sqlite", store.SCHEMA) as opened:
        monitor = Monitor(opened, sensor, QUICK, {"file": sent.append}, lambda: NOW)
        monitor.take(stories(calm(50) + ["fell"] * 100))
        alarms = monitor.alarms()
        quiet = [a for a in alarms if a["muted"]]
        loud = [a for a in alarms if not a["muted"]][::-1]
        assert quiet and len(loud) == 2  # 100 minutes, and an hour of cool-down
        gap = store.moment_of(loud[1]["at"]) - store.moment_of(loud[0]["at"])
        assert gap >= QUICK.cooldown
        assert monitor.deliver() == 2 and monitor.deliver() == 0
        assert [a["id"] for a in sent] == [a["id"] for a in loud]
        behind = sent[0]["behind"]
        assert sent[0]["of"] >= len(behind) > 0 and all("fell" in b["text"] for b in behind)


def test_near_misses_raise_an_alarm_where_bad_news_is_hidden(monitor):
    monitor.take(stories(calm(50) + ["flel"] * 30))
    assert {a["kind"] for a in monitor.alarms()} == {"near misses"}


def test_a_broken_feed_is_said_and_the_others_go_on(monitor, written):
    good, broken = written(rss(entry("banks fell", "1")), "good.xml"), written("x", "bad.xml")
    said = monitor.read(["nowhere.xml", broken, good])
    assert "1 new" in said[good] and "no RSS" in said[broken]
    rows = {r["source"]: r for r in monitor.feeds()}
    assert rows[broken]["broken"] and not rows[good]["broken"] and rows[good]["worked"]
    written(rss(entry("banks rose", "2")), "bad.xml")
    assert "1 new" in monitor.read([broken])[broken]
    written("x", "good.xml")
    monitor.read([good])
    row = next(r for r in monitor.feeds() if r["source"] == good)
    assert row["broken"] and row["worked"]  # when it last worked is kept


# ---------------------------------------------------------------------- where alarms go


def test_a_dead_webhook_is_tried_again_and_loses_nothing(tmp_path, loopback):
    clock = [NOW]
    loopback.status = 503
    with open_store(tmp_path / "s.sqlite", store.SCHEMA) as opened:
        file = tmp_path / "a" / "alarms.jsonl"
        ways = {"webhook": channels.to_webhook(f"{loopback.address}/hook"),
                "file": channels.to_file(file)}  # fmt: skip
        monitor = Monitor(opened, sensor, QUICK, ways, lambda: clock[0])
        monitor.take(stories(calm(50) + ["fell"] * 30))
        assert monitor.deliver() == 1  # the file
        assert "error 503" in monitor.waiting()[0]["problem"]
        assert monitor.deliver() == 0 and len(loopback.got) == 1  # not due yet
        for _ in range(20):
            clock[0] += timedelta(hours=1)
            monitor.deliver()
        assert len(loopback.got) == 21  # an hour at most between two tries, and for ever
        loopback.status = 204
        clock[0] += timedelta(hours=1)
        assert monitor.deliver() == 1 and not monitor.waiting()
        posted = json.loads(loopback.got[-1][1])
        assert posted == json.loads(file.read_text()) and posted["topic"] == "banks"


@pytest.mark.parametrize("address", ["ftp://x", "javascript:1", "hook", "http:///x", "http://a b"])
def test_a_webhook_is_http_or_https(address):
    with pytest.raises(ServingError, match="webhook"):
        channels.to_webhook(address)


def test_a_webhook_that_hangs_moves_or_is_gone_is_a_problem_and_shows_no_secret(loopback):
    for path, said in (("/moved", "error 307"),):
        with pytest.raises(channels.DeliveryError, match=said) as error:
            channels.to_webhook(loopback.address + path)({"id": 1})
        assert path not in str(error.value)
    address = loopback.address
    loopback.shutdown()  # accepts, and never answers
    with pytest.raises(channels.DeliveryError, match="cannot be reached"):
        channels.to_webhook(address + "/secret", patience=0.3)({"id": 1})
    with pytest.raises(channels.DeliveryError, match="cannot be reached") as error:
        channels.to_webhook("http://127.0.0.1:1/secret")({"id": 1})
    assert "secret" not in str(error.value)


def test_half_a_line_in_the_file_of_alarms_spoils_no_other(tmp_path):
    file = tmp_path / "alarms.jsonl"
    file.write_text('{"id": 1}\n{"id": 2, "to')
    channels.to_file(file)({"id": 2, "topic": "a\nb"})
    lines = file.read_text().splitlines()
    assert json.loads(lines[0]) == {"id": 1} and json.loads(lines[2])["topic"] == "a\nb"
    with pytest.raises(channels.DeliveryError, match="cannot be written"):
        channels.to_file(tmp_path)({"id": 3})


@pytest.mark.parametrize("wrong", [dict(between=1), dict(learn=3), dict(factor=1.0), dict(lam=0),
                                   dict(cooldown=timedelta(-1))])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ServingError):
        Settings(**wrong)


# ---------------------------------------------------------------------- the sensor, and what plays


@pytest.fixture(scope="module")
def victim():
    return load_classifier("news-clean", device="cpu")


def test_topics_come_from_the_words_that_count(victim):
    read = news_sensor(victim).topic
    stories = news.stories(300, seed=3, copies=0.1)
    assert all(read(s.title) == s.topic for s in stories)
    assert read("Brellwick profit fell, although its layoffs rose") == "earnings"
    assert read("Brellwick proift fell, although its layoffs rose") == "earnings"  # a slip in it
    assert read("Nothing of the kind") == OTHER


def test_near_misses_are_rare_in_calm_news_and_frequent_after_typos(victim):
    sensor = news_sensor(victim)
    texts = [s.title for s in news.stories(300, seed=4)]
    assert sum(map(sensor.near_miss, texts)) <= 3
    bad = [s.title for s in news.stories(300, seed=5) if s.sentiment == "negative"]
    told = [play.Told(t, True, "jobs", hidden=True) for t in bad[:20]]
    player = play.Player(play.Stories(), Monitor(None, sensor))
    after = player.disguised(told)
    before, now = ([r.bad for r in sensor(t)] for t in (bad[:20], after))
    assert sum(now) < sum(before)
    assert all(sensor.near_miss(b) for a, b in zip(bad, after, strict=False) if a != b)


def test_copies_are_found_and_other_companies_are_other_stories(victim, tmp_path):
    told = news.stories(400, seed=11, copies=0.2)
    meant = {s.title: Reading(s.topic, s.sentiment, 1.0, s.sentiment == "negative", False)
             for s in told}  # fmt: skip
    with open_store(tmp_path / "s.sqlite", store.SCHEMA) as opened:
        monitor = Monitor(opened, lambda texts: [meant[t] for t in texts], Settings(learn=500),
                          common=news_sensor(victim).common)  # fmt: skip
        monitor.take([Item("s", s.guid, s.published, s.title) for s in told])
        repeats = {r["guid"]: r["first"] for r in opened.rows(
            "SELECT i.guid, o.guid AS first FROM items i JOIN items o ON o.id = i.original")}
    copies = [s for s in told if s.copy_of]
    assert sum(s.guid in repeats for s in copies) > 0.8 * len(copies)
    assert sum(not s.copy_of and s.guid in repeats for s in told) < 0.08 * len(told)
    company = {s.guid: s.company for s in told}
    assert all(company[guid] == company[first] for guid, first in repeats.items())


def test_own_topics_and_bad_tables_of_them(victim, tmp_path):
    file = tmp_path / "topics.json"
    file.write_text('{"banks": ["bank", "Loan"], "oil": ["oil"]}')
    read = own_sensor(victim, file).topic
    assert read("A LOAN for the oil bank") == "banks" and read("oli") == OTHER
    for wrong in ("[]", "{}", "{", '{"a": 1}', '{"a": ["two words"]}', '{"a": [1]}'):
        file.write_text(wrong)
        with pytest.raises(ServingError, match="table of topics"):
            own_sensor(victim, file)
    with pytest.raises(ServingError, match="cannot be read"):
        own_sensor(victim, tmp_path)
    with pytest.raises(ServingError, match="no label 'sad'"):
        news_sensor(victim, bad="sad")


def test_scenarios_are_what_they_say(monkeypatch):
    monkeypatch.setattr(play, "LENGTH", 120)
    player = play.Player(play.Stories(), None, seed="t")

    def share(told):
        mine = [t for t in told if t.topic == "jobs"]
        return len(mine), sum(t.bad for t in mine) / len(mine)

    n, bad = share(player.scenario(play.SCENARIOS[0], "jobs"))
    assert n > 8 and bad > 0.5
    hidden = player.scenario(play.SCENARIOS[1], "jobs")
    assert all(t.hidden == (t.topic == "jobs") for t in hidden)
    more, less = share(player.scenario(play.SCENARIOS[2], "jobs"))
    assert more > 2.5 * n and less < 0.4
    faked = player.scenario(play.SCENARIOS[3], "jobs")
    assert sum(t.bad and t.topic == "jobs" for t in faked) >= play.FAKES
    with pytest.raises(ServingError):
        player.play("nothing", "jobs")


def test_labelled_texts_as_a_stream(tmp_path):
    file = tmp_path / "bank.txt"
    file.write_bytes("Profit fell at caf\xe9@negative\nProfit rose @ 5 euro@positive\n".encode(
        "latin-1"))  # fmt: skip
    assert dict(feeds.read_labelled(file))["Profit rose @ 5 euro"] == "positive"
    told = play.Labelled(file).calm(500, "a")
    assert 0.08 < sum(t.bad for t in told) / 500 < 0.18
    file.write_text("no label here\n")
    with pytest.raises(ServingError, match="text@label"):
        play.Labelled(file)
    file.write_text("a text@neutral\n")
    with pytest.raises(ServingError, match="others"):
        play.Labelled(file)


# ---------------------------------------------------------------------- the whole program

ROOT = Path(__file__).resolve().parent.parent


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "examples.monitor", *map(str, arguments)]


@contextmanager
def started(*arguments: str):
    """The program in a process of its own; its address."""
    process = subprocess.Popen(command("--port", "0", *arguments), cwd=ROOT, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if "is ready" in line:
                break
        else:
            raise AssertionError("".join(said))
        yield SimpleNamespace(process=process, address=said[-1].split()[2])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def ask(address: str, route: str, body=None, expect: int = 200):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + "/api" + route, data,
                                     {"Content-Type": "application/json"})  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            status, found = answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        status, found = error.code, json.load(error)
    assert status == expect, found
    return found


def wait_for(what, seconds: float = 120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.5)
    raise AssertionError("it did not come")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("monitor")


@pytest.fixture(scope="module")
def live(folder):
    """The embedded program, with an alarm that came by itself; killed with -9 after the tests."""
    pytest.importorskip("gradio")
    with started("--store", folder / "s.sqlite", "--alarms", folder / "alarms.jsonl",
                 "--model", "news-robust", "--per-minute", "6000") as server:  # fmt: skip
        wait_for(lambda: ask(server.address, "/alarms"))
        yield server


def test_a_planted_surge_raises_an_alarm_of_its_topic(live, folder):
    loud = [a for a in ask(live.address, "/alarms?most=500") if not a["muted"]]
    assert "earnings" in {a["topic"] for a in loud}
    first = next(a for a in loud[::-1] if a["topic"] == "earnings")
    alarm = ask(live.address, f"/alarms/{first['id']}")
    assert alarm["behind"] and alarm["kind"] == "bad news"
    chart = ask(live.address, "/chart?topic=earnings")
    assert chart["points"] and chart["threshold"] > 0
    lines = wait_for(lambda: (folder / "alarms.jsonl").exists()
                     and (folder / "alarms.jsonl").read_text().splitlines())  # fmt: skip
    assert json.loads(lines[0])["id"] == loud[-1]["id"]


BAD_REQUESTS = [
    ("/items", {"items": []}, 400, "send 1 to 200"),
    ("/items", {"items": [{"text": "x"}] * 201}, 400, "send 1 to 200"),
    ("/items", {"items": "x"}, 422, "items"),
    ("/items", {"wrong": 1}, 422, "items"),
    ("/items", [1], 422, ""),
    ("/alarms/999999", None, 400, "no alarm"),
    ("/alarms/x", None, 422, "number"),
    ("/alarms/99999999999999999999", None, 400, "larger"),
    ("/chart?topic=nowhere", None, 400, "no such chart"),
    ("/chart", None, 422, "topic"),
    ("/items?most=0", None, 422, "most"),
    ("/nothing", None, 404, "nothing here"),
]


@pytest.mark.parametrize("route, body, status, said", BAD_REQUESTS)
def test_a_bad_request_gets_one_sentence(live, route, body, status, said):
    found = ask(live.address, route, body, status)
    assert said in found["error"] and "\n" not in found["error"]


def test_items_by_the_api_are_counted_once_and_inert(live):
    evil = "<img src=x onerror=alert(1)> Brellwick profit fell'; DROP TABLE items; --"
    body = {"items": [{"guid": "evil", "text": evil, "published": "2001-01-01"},
                      {"guid": "evil", "text": "another"}, {"text": "\x00"}]}  # fmt: skip
    first = ask(live.address, "/items", body)
    assert first["new"] == 1 and first["known"] == 1 and "no text" in str(first["notes"])
    again = ask(live.address, "/items", body)
    assert again["new"] == 0 and again["known"] == 2
    found = [i for i in ask(live.address, "/items?topic=earnings&most=500") if i["source"] == "api"]
    assert [i["text"] for i in found] == ["Brellwick profit fell'; DROP TABLE items; --"]
    assert found[0]["published"].startswith("2001-01-01T00:00") and found[0]["sentiment"]


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(not CHROMIUM, reason="needs a browser")
def test_the_page_in_a_browser(live, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started_one:
        browser = started_one.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width, theme in ((1280, "light"), (400, "dark")):
            page = browser.new_page(viewport={"width": width, "height": 900})
            use_the_page(page, live.address, width, theme)
            page.screenshot(path=tmp_path / f"{width}-{theme}.png", full_page=True)
            page.close()
        browser.close()


def use_the_page(page, address: str, width: int, theme: str) -> None:
    page.set_default_timeout(60_000)
    outside = []
    page.on("request", lambda r: outside.append(r.url)
            if r.url.startswith("http") and not r.url.startswith(address) else None)
    page.goto(f"{address}/?__theme={theme}")
    page.wait_for_selector(".topic .bar")
    page.wait_for_selector("svg.chart")
    page.wait_for_selector(".alarm")
    page.wait_for_selector(".news li")
    before = page.locator("svg.chart").get_attribute("aria-label")
    page.get_by_label("EWMA").check()
    page.wait_for_function(
        "b => document.querySelector('svg.chart')?.getAttribute('aria-label') !== b", arg=before)
    page.get_by_text("How would it read this?").click()
    page.get_by_label("Headline").fill("Brellwick <b>proift</b> fell 12 percent")
    page.get_by_role("button", name="Read it").click()
    page.wait_for_selector("text=near miss of a known word")
    page.get_by_label("a surge that is faked").check()
    page.get_by_role("button", name="Play it").click()
    page.wait_for_selector("text=Now playing: a surge that is faked")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not outside


def test_killed_while_it_writes_the_store_is_whole_and_nothing_counts_twice(live, folder):
    """Last of the tests of `live`: kill -9, while stories and alarms are being written."""
    live.process.kill()
    live.process.wait()
    with open_store(folder / "s.sqlite", store.SCHEMA) as opened:
        assert opened.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
        assert not opened.rows("PRAGMA foreign_key_check")
        monitor = Monitor(opened, sensor)
        points = opened.rows("SELECT kind, chart, count(*) AS n FROM points GROUP BY 1, 2")
        assert len(points) == 4 and len({p["n"] for p in points}) == 1  # of an item all or none
        loud = [a["id"] for a in monitor.alarms(500) if not a["muted"]]
        sent = opened.rows("SELECT alarm FROM deliveries")
        assert sorted(loud) == sorted(d["alarm"] for d in sent)
        before = monitor.counts()["items"]
        player = play.Player(play.Stories(), monitor)
        monitor.sensor = lambda texts: pytest.fail("the history was read before")
        player.history(NOW)
        assert monitor.counts()["items"] == before


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, "tests")
from monitor_stories import *
from examples.monitor import channels, store
from examples.monitor.app import Monitor
from examples.serving import open_store
with open_store(sys.argv[1], store.SCHEMA) as opened:
    monitor = Monitor(opened, sensor, QUICK, {"file": channels.to_file(Path(sys.argv[2]))},
                      lambda: NOW)
    for k in range(monitor.counts()["items"], 10**6, 20):
        monitor.take(stories(["fell"] * 20 if k >= 60 else calm(20, seed=k), begin=k))
        monitor.deliver()
        print(k, flush=True)
"""


def test_killed_during_imports_and_alarms(tmp_path):
    path, out = tmp_path / "s.sqlite", tmp_path / "alarms.jsonl"
    for k in range(2):
        process = subprocess.Popen([sys.executable, "-c", KILLED, path, out], cwd=ROOT,
                                   stdout=subprocess.PIPE)  # fmt: skip
        for _ in range(12 + 5 * k):
            assert process.stdout.readline()
        time.sleep(0.013 * k)
        process.kill()
        process.wait()
        process.stdout.close()
        with open_store(path, store.SCHEMA) as opened:
            assert opened.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
            monitor = Monitor(opened, sensor, QUICK, {"file": channels.to_file(out)}, lambda: NOW)
            n = monitor.counts()["items"]
            assert n and n % 20 == 0  # a reading is there as a whole or not at all
            monitor.deliver()
            assert not monitor.waiting()
            lines = [json.loads(line) for line in out.read_text().splitlines()
                     if line.endswith("}")]  # fmt: skip
            loud = {a["id"] for a in monitor.alarms(10_000) if not a["muted"]}
            assert {line["id"] for line in lines} == loud  # none is lost; one may stand twice


BAD_COMMANDS = [
    (("ftp://x/y",), "http"), (("--webhook", "ftp://x", "a.xml"), "webhook"),
    (("--zone", "Mars/Base"), "time zone"), (("--between", "1"), "between"),
    (("--once",), "name some"), (("--play", "dead"), "nothing called 'dead'"),
    (("--data", "missing.txt"), "cannot be read"), (("--topics", "missing.json"), "cannot be read"),
    (("--model", "no/such/model", "a.xml"), "no/such/model"), (("--bad", "sad"), "no label"),
    (("--every", "0", "a.xml"), "every"), (("--store", "README.md", "a.xml", "--once"), "README"),
]  # fmt: skip


@pytest.mark.parametrize("arguments, said", BAD_COMMANDS, ids=lambda value: str(value)[:30])
def test_a_bad_command_gets_one_sentence(arguments, said, monkeypatch, capsys, tmp_path):
    import examples.monitor.__main__ as main

    monkeypatch.setattr(main, "FOLDER", tmp_path)
    given = arguments if "--model" in arguments else (*arguments, "--model", "news-clean")
    monkeypatch.setattr(sys, "argv", ["monitor", *given])
    with pytest.raises(SystemExit) as error:
        main.command()
    assert said in str(error.value) and str(error.value).startswith("monitor: ")
    assert "\n" not in str(error.value)


def test_reads_feeds_once_and_says_what_came(monkeypatch, capsys, tmp_path, written):
    import examples.monitor.__main__ as main

    good = written(rss(entry("Brellwick profit fell", "1"), entry("Skovane profit rose", "2", "")))
    arguments = ["monitor", good, "nowhere.xml", "--once", "--model", "news-clean", "--store",
                 str(tmp_path / "s.sqlite"), "--alarms", str(tmp_path / "a.jsonl")]  # fmt: skip
    for expected in ("2 new, 0 known", "0 new, 2 known"):
        monkeypatch.setattr(sys, "argv", arguments)
        try:
            main.command()
        except SystemExit as end:
            assert not end.code
        said = capsys.readouterr().out
        assert expected in said and "nowhere.xml cannot be read" in said and "no date" in said
