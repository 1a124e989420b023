"""The page: bars of sentiment for each topic, a chart with its threshold, the alarms, and the items
behind one. Drawn as HTML and SVG in the colours of the theme; nothing that was read is markup."""

from __future__ import annotations

from datetime import tzinfo
from html import escape

from examples.monitor.app import CHARTS, KINDS, Monitor
from examples.monitor.play import SCENARIOS
from examples.monitor.store import moment_of
from examples.serving import Limiter, ServingError, load_gradio, on_page, usable

LONGEST = 500  # characters of a headline that is tried out
STYLE = """
.bar { display: flex; height: 1.6em; border-radius: 4px; overflow: hidden; font-size: .8em }
.bar span { display: flex; align-items: center; justify-content: center; overflow: hidden }
.bad { background: #a33b12; color: #fff } .good { background: #1d6b4f; color: #fff }
.other { background: #c9ccd1; color: #1b1b1b }
.topic { margin: .5em 0 } .topic b { margin-right: .5em } .note { opacity: .75; font-size: .9em }
.news { max-height: 24em; overflow-y: auto; overflow-wrap: anywhere; padding-left: 2.5em }
.news li { margin: .4em 0 }
.alarm { color: #a33b12; font-weight: bold } .dark .alarm { color: #ff9b73 }
svg.chart { width: 100%; height: auto; color: var(--body-text-color) }
"""


def local(stamp: str, zone: tzinfo) -> str:
    """A time of the store for the eye, with its offset: in the hour that comes twice in autumn the
    offset says which one it is."""
    return moment_of(stamp).astimezone(zone).strftime("%d %b %H:%M:%S %z")


def bars(topics: list[dict], labels: tuple[str, ...], bad: str) -> str:
    """A bar for each topic: the share of each sentiment among its last items."""
    if not topics:
        return "<p class='note'>Nothing has been read yet.</p>"
    rows = []
    for topic in topics:
        counts = {label: topic["sentiments"].get(label, 0) for label in labels}
        n = sum(counts.values()) or 1
        parts = "".join(
            f"<span class='{_colour(label, bad)}' style='width:{100 * k / n:.1f}%' "
            f"title='{escape(label)}'>{k}</span>" for label, k in counts.items() if k
        )  # fmt: skip
        said = ", ".join(f"{k} {label}" for label, k in counts.items())
        state = "" if topic["watched"] else " · learning what is usual"
        rows.append(
            f"<div class='topic'><b>{escape(topic['topic'])}</b><span class='note'>{topic['items']}"
            f" items, {topic['repeats']} repeats{state}</span><div class='bar' role='img' "
            f"aria-label='{escape(topic['topic'])}: {escape(said)}'>{parts}</div></div>"
        )
    key = " ".join(f"<span class='{_colour(label, bad)}'>&nbsp;{escape(label)}&nbsp;</span>"
                   for label in labels)  # fmt: skip
    return f"<p class='note'>The last 100 stories of each topic: {key}</p>" + "".join(rows)


def _colour(label: str, bad: str) -> str:
    return "bad" if label == bad else "good" if label == "positive" else "other"


def drawing(chart: dict, zone: tzinfo) -> str:
    """A chart as SVG: the statistic after each item, the threshold, and a dot for each alarm."""
    points = [p["statistic"] for p in chart["points"]]
    if not points:
        return "<p class='note'>This chart waits for the first item after learning.</p>"
    top = max(*points, chart["threshold"]) * 1.1
    n = max(len(points), 50)
    wide, high, left = 600, 220, 40

    def x(k):
        return left + (wide - left - 8) * k / (n - 1)

    def y(s):
        return high - 24 - (high - 34) * s / top

    line = " ".join(f"{x(k):.1f},{y(s):.1f}" for k, s in enumerate(points))
    h = chart["threshold"]
    dots = "".join(f"<circle cx='{x(k):.1f}' cy='{y(s):.1f}' r='5' fill='#d5572a'/>"
                   for k, s in enumerate(points) if s >= h)  # fmt: skip
    alarms = sum(s >= h for s in points)
    first, last = (local(chart["points"][k]["published"], zone) for k in (0, -1))
    alt = (f"Chart of {escape(chart['topic'])}, {len(points)} items: now {points[-1]:.2f}, "
           f"threshold {h:.2f}, {alarms} alarms")  # fmt: skip
    return (
        f"<svg class='chart' viewBox='0 0 {wide} {high}' role='img' aria-label='{alt}'>"
        f"<line x1='{left}' x2='{wide}' y1='{y(0):.1f}' y2='{y(0):.1f}' stroke='currentColor' "
        f"opacity='.4'/><line x1='{left}' x2='{wide}' y1='{y(h):.1f}' y2='{y(h):.1f}' "
        "stroke='#d5572a' stroke-width='1.5' stroke-dasharray='7 4'/>"
        f"<text x='{left}' y='{y(h) - 5:.1f}' font-size='13' fill='currentColor'>threshold {h:.2f}"
        f"</text><text x='0' y='{y(0):.1f}' font-size='13' fill='currentColor'>0</text>"
        f"<polyline points='{line}' fill='none' stroke='currentColor' stroke-width='1.8'/>{dots}"
        f"<text x='{left}' y='{high - 4}' font-size='12' fill='currentColor'>{first}</text>"
        f"<text x='{wide}' y='{high - 4}' font-size='12' text-anchor='end' fill='currentColor'>"
        f"{last}</text></svg><p class='note'>{len(points)} items, {alarms} alarms. Usual are at "
        f"most {chart['p0']:.0%}. A dot is an alarm; after it the chart begins anew.</p>"
    )


def behind(alarm: dict, zone: tzinfo) -> str:
    """The items that moved a chart to its alarm."""
    rows = "".join(
        f"<li>{escape(i['text'])}<br><span class='note'>{local(i['published'], zone)} · "
        f"{escape(i['sentiment'])} {i['confidence']:.0%} · {escape(i['source'])}</span></li>"
        for i in alarm["behind"]
    )
    n = len(alarm["behind"])
    return (f"<p>{n} of the last {alarm['of']} stories on {escape(alarm['topic'])} moved the chart "
            f"to {alarm['statistic']:.2f}; the threshold is {alarm['threshold']:.2f}.</p>"
            f"<ol class='news' reversed>{rows}</ol>")  # fmt: skip


def title(alarm: dict, zone: tzinfo) -> str:
    muted = " (within the cool-down, not sent)" if alarm["muted"] else ""
    return (f"{alarm['id']}: {local(alarm['at'], zone)}, {alarm['kind']} in {alarm['topic']}, "
            f"{alarm['chart'].upper()}{muted}")  # fmt: skip


def status(monitor: Monitor, zone: tzinfo) -> str:
    """What a person should know first: the last alarm, broken feeds, what could not be sent."""
    lines = []
    last = monitor.last_alarm()
    lines.append(f"<span class='alarm'>Alarm {escape(title(last, zone))}</span>" if last
                 else "No alarm so far.")  # fmt: skip
    for feed in monitor.feeds():
        if feed["broken"]:
            worked = local(feed["worked"], zone) if feed["worked"] else "never"
            lines.append(f"Broken feed: {escape(feed['said'])}. It last worked: {worked}.")
    waiting = monitor.waiting()
    if waiting:
        problem = waiting[0]["problem"] or "they are being sent"
        lines.append(f"{len(waiting)} alarms wait to be sent: {escape(problem)}.")
    return "".join(f"<p>{line}</p>" for line in lines)


def page(monitor: Monitor, zone: tzinfo, limiter: Limiter, player=None):
    """The page as a `gradio.Blocks`. limiter: of headlines that are tried out, by all visitors
    together. player: plays embedded news, and an attack when asked."""
    labels, bad = monitor.sensor.victim.labels, monitor.sensor.bad
    gr = load_gradio()

    def look(topic, kind, chart, chosen, seen):
        """All that changes by itself; a list is only sent anew when it has changed."""
        topics = monitor.topics()
        names = [row["topic"] for row in topics]
        alarms = monitor.alarms()
        if topic not in names:
            topic = next((a["topic"] for a in alarms), names[0] if names else None)
        now = (names, [a["id"] for a in alarms])
        changed = now != seen
        options = [(title(a, zone), a["id"]) for a in alarms]
        last = monitor.last_alarm()
        chosen = chosen or (last and last["id"])
        return (
            status(monitor, zone), bars(topics, labels, bad),
            gr.Dropdown(choices=names, value=topic) if changed else gr.skip(),
            draw(topic, kind, chart),
            gr.Dropdown(choices=options, value=chosen) if changed else gr.skip(), now,
        )  # fmt: skip

    def draw(topic, kind, chart):
        try:
            return drawing(monitor.chart(topic, kind, chart), zone)
        except ServingError as error:
            return f"<p class='note'>{escape(str(error))}</p>"

    def show(chosen):
        return behind(monitor.alarm(chosen), zone) if chosen else ""

    def reading(text):
        limiter.take("page")
        said = monitor.sensor([usable(text, "the headline", LONGEST)])[0]
        miss = " It holds a near miss of a known word." if said.miss else ""
        return f"**{said.sentiment}** ({said.confidence:.0%}), topic {said.topic}.{miss}"

    with gr.Blocks(title="News monitor", analytics_enabled=False) as blocks:
        gr.Markdown("# News monitor\nReads financial news, and says when bad news surges.")
        seen = gr.State(None)
        state = gr.HTML(status(monitor, zone))
        with gr.Row():
            with gr.Column():
                gr.Markdown("### Sentiment by topic")
                shown = gr.HTML()
            with gr.Column():
                gr.Markdown("### Is there more than usual?")
                begin = player.topics[0] if player else None
                topic = gr.Dropdown(player.topics if player else [], value=begin, label="Topic",
                                    interactive=True)  # fmt: skip
                kind = gr.Radio(list(KINDS), value="bad news", label="What is watched")
                chart = gr.Radio([(c.upper(), c) for c in CHARTS], value="cusum", label="Chart")
                drawn = gr.HTML()
        gr.Markdown("### Alarms")
        alarm = gr.Dropdown([], label="Alarm", interactive=True)
        items = gr.HTML()
        if player is not None:
            _controls(gr, player)
        with gr.Accordion("How would it read this?", open=False):
            text = gr.Textbox(label="Headline", max_length=LONGEST)
            ask = gr.Button("Read it (it is not counted)")
            answer = gr.Markdown()
        inputs, outputs = [topic, kind, chart, alarm, seen], [state, shown, topic, drawn, alarm,
                                                              seen]  # fmt: skip
        gr.Timer(2).tick(look, inputs, outputs, show_progress="hidden")
        blocks.load(look, inputs, outputs, show_progress="hidden")
        for control in (topic, kind, chart):
            control.change(draw, [topic, kind, chart], drawn, show_progress="hidden")
        alarm.change(on_page(show), alarm, items, show_progress="hidden")
        ask.click(on_page(reading), text, answer)
        text.submit(on_page(reading), text, answer)
    return blocks


def _controls(gr, player) -> None:
    """Play a surge, or somebody who hides, floods or fakes one."""
    gr.Markdown("### Play a surge\nThe embedded news goes on; choose what happens next.")
    with gr.Row():
        what = gr.Radio(SCENARIOS, value=SCENARIOS[0], label="What")
        where = gr.Dropdown(player.topics, value=player.topics[0], label="Topic")
    start = gr.Button("Play it", variant="primary")
    said = gr.Markdown()
    start.click(on_page(player.play), [what, where], said)


def zone_of(name: str) -> tzinfo:
    """The time zone of that name. Raises ServingError."""
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise ServingError(f"there is no time zone {name!r}: try UTC or Europe/Berlin") from error


