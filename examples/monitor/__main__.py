"""A monitor for financial news: reads feeds, and says when bad news surges.

python -m examples.monitor                               embedded news with a planted surge
python -m examples.monitor news.xml https://host/rss     feeds of your own: RSS, Atom, JSON lines
python -m examples.monitor --data FILE                   lines `text@label`, as a simulated stream
"""

from __future__ import annotations

import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from examples.serving import Limiter, ServingError, open_store, serve

FOLDER = Path("runs/monitor")


def main(
    feeds: Annotated[list[str] | None, typer.Argument(help="Files and addresses.")] = None,
    data: Annotated[Path | None, typer.Option(help="Lines `text@label` to play.")] = None,
    play: Annotated[
        str, typer.Option(help="Embedded news first plays: surge, hidden, flooded, faked, calm.")
    ] = "surge",
    model: Annotated[
        str, typer.Option(help="Embedded model, Hub name, or a folder, also of `advlib export`.")
    ] = "news-robust",
    bad: Annotated[str, typer.Option(help="The model's label of bad news.")] = "negative",
    topics: Annotated[
        Path | None, typer.Option(help='Words of each topic, JSON: {"topic": ["word", …]}.')
    ] = None,
    store: Annotated[Path | None, typer.Option(help="The file that keeps everything.")] = None,
    alarms: Annotated[
        Path, typer.Option(help="Where alarms are written, one on a line.")
    ] = FOLDER / "alarms.jsonl",
    webhook: Annotated[
        str | None, typer.Option(envvar="MONITOR_WEBHOOK", help="Where alarms are posted.")
    ] = None,
    between: Annotated[
        int, typer.Option(help="Items of a topic between two false alarms.")
    ] = 500,
    learn: Annotated[int, typer.Option(help="Items of a topic that say what is usual.")] = 100,
    cooldown: Annotated[
        float | None, typer.Option(help="Minutes without a second alarm: 60, embedded 1.")
    ] = None,
    every: Annotated[float, typer.Option(help="Seconds between two readings of a feed.")] = 300.0,
    once: Annotated[
        bool, typer.Option("--once", help="Read the feeds, say what came, and end.")
    ] = False,
    zone: Annotated[str, typer.Option(help="Time zone of the page, as Europe/Berlin.")] = "UTC",
    per_minute: Annotated[float, typer.Option(help="Requests of a client in a minute.")] = 600,
    host: str = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: a free one.")] = 7862,
) -> None:
    from examples.monitor.app import Monitor, Settings
    from examples.monitor.channels import to_file, to_webhook
    from examples.monitor.feeds import http_address
    from examples.monitor.page import zone_of
    from examples.monitor.store import SCHEMA

    shown_in = zone_of(zone)
    played = not feeds
    if once and played:
        raise ServingError("--once reads feeds: name some")
    if every < 1:
        raise ServingError(f"--every is at least 1 second, not {every:g}")
    for feed in feeds or ():
        if "://" in feed:
            http_address(feed, "the feed")
    minutes = cooldown if cooldown is not None else 1 if played else 60
    # Embedded news runs faster than news does, and so do the times that are settings.
    window = timedelta(seconds=40) if played else timedelta(hours=24)
    settings = Settings(between, learn, cooldown=timedelta(minutes=minutes), window=window)
    channels = {"file": to_file(alarms)} | ({"webhook": to_webhook(webhook)} if webhook else {})
    sensor = sensor_of(model, bad, topics, data)
    name = "feeds" if feeds else data.stem if data else "embedded"
    with open_store(store or FOLDER / f"{name}.sqlite", SCHEMA) as opened:
        monitor = Monitor(opened, sensor, settings, channels, common=sensor.common)
        if once:
            for feed, said in monitor.read(feeds).items():
                print(f"{feed}: {said}")
            monitor.deliver()
            return
        run(monitor, feeds, player_of(monitor, data, play, bad) if played else None, every,
            lambda player: serve_page(monitor, shown_in, player, per_minute, host, port))


def sensor_of(model: str, bad: str, topics: Path | None, data: Path | None):
    from advlib.models import ModelError, load_classifier
    from examples.monitor.sensor import labelled_sensor, news_sensor, own_sensor

    try:
        victim = load_classifier(model)
    except ModelError as error:
        raise ServingError(str(error)) from error
    if topics:
        return own_sensor(victim, topics, bad)
    return labelled_sensor(victim, data, bad) if data else news_sensor(victim, bad)


def player_of(monitor, data: Path | None, play: str, bad: str):
    from examples.monitor.play import SCENARIOS, Labelled, Player, Stories, new_seed

    names = dict(zip(("surge", "hidden", "flooded", "faked"), SCENARIOS, strict=True))
    if play != "calm" and play not in names:
        raise ServingError(f"there is nothing called {play!r} to play: {', '.join(names)} or calm")
    source = Labelled(data, bad) if data else Stories()
    return Player(source, monitor, bad, new_seed(), first=names.get(play))


def run(monitor, feeds: list[str] | None, player, every: float, serving) -> None:
    """Read and send in threads, serve here, and let all of them end together."""
    stop = threading.Event()

    def read() -> None:
        for feed, said in monitor.read(feeds).items():
            print(f"{feed}: {said}", flush=True)

    work = [(monitor.deliver, 1.0), ((lambda: player.run(stop)), 1.0) if player else (read, every)]
    threads = [threading.Thread(target=again_and_again, args=(*task, stop), daemon=True)
               for task in work]  # fmt: skip
    for thread in threads:
        thread.start()
    try:
        serving(player)
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=10)


def again_and_again(task, seconds: float, stop: threading.Event) -> None:
    """Do it until told to stop; what goes wrong is said, and the next time may be better."""
    while not stop.is_set():
        try:
            task()
        except ServingError as error:
            print(f"monitor: {error}", file=sys.stderr, flush=True)
        stop.wait(seconds)


def serve_page(monitor, zone, player, per_minute: float, host: str, port: int) -> None:
    from examples.monitor.api import routes
    from examples.monitor.page import STYLE, page

    limiter = Limiter(per_minute, burst=max(20, round(per_minute / 6)))
    serve(routes(monitor, limiter), page(monitor, zone, limiter, player), host, port, css=STYLE)


def command() -> None:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(help=__doc__)(main)
    try:
        app(prog_name="python -m examples.monitor")
    except (ServingError, OSError) as error:
        sys.exit(f"monitor: {error}")


if __name__ == "__main__":
    command()
