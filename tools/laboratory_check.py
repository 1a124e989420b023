"""Use the laboratory in a real browser, as a reader does.

    make laboratory-check

By keyboard alone, at 1280 and 400 pixels, light and dark; with texts that are also HTML; without
WebAssembly. No request may leave the page's own host. Screenshots go to build/laboratory-shots.
`benchmarks/laboratory.py` compares what the page computes with the library.
"""

from __future__ import annotations

import functools
import http.server
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[1]
BUILT = ROOT / "build" / "laboratory"
SHOTS = ROOT / "build" / "laboratory-shots"
HOSTILE = "The soup was delicious. <img src=x onerror=alert(1)> <b id='mine'>bold</b>"
WAIT = 300_000  # ms; a machine may be busy
# Of each element with text of its own: contrast against what is behind it, by WCAG 2.
CONTRAST = """() => {
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const behind = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.unshift(parse(getComputedStyle(e).backgroundColor));
    return layers.reduce((below, [r, g, b, a = 1]) =>
      below.map((v, k) => v * (1 - a) + [r, g, b][k] * a), [255, 255, 255]);
  };
  const low = [];
  for (const e of document.querySelectorAll('main *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.disabled) continue;
    const pair = [light(parse(getComputedStyle(e).color)), light(behind(e))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < 4.5) low.push(`${e.tagName} ${e.className} ${e.textContent.slice(0, 30)}: ${ratio.toFixed(1)}`);
  }
  return low;
}"""  # fmt: skip  # noqa: E501


@contextmanager
def served(folder: Path = BUILT) -> Iterator[str]:
    """The address under which the folder is served on this machine."""
    if not (folder / "data.json").is_file():
        sys.exit("there is no laboratory yet: make laboratory")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()


@contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    own = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=own, args=["--no-sandbox", *flags])
        yield browser
        browser.close()


def opened(browser: Browser, address: str, **settings) -> Page:
    """The page, ready, in a profile of its own; a request to another host or an error stops."""
    page = browser.new_context(**settings).new_page()
    page.set_default_timeout(WAIT)
    troubles = []
    page.on("request", lambda r: r.url.startswith((address, "data:")) or troubles.append(r.url))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda m: m.type == "error" and troubles.append(m.text))
    page.on("dialog", lambda dialog: troubles.append(f"a dialog opened: {dialog.message}"))
    page.troubles = troubles
    page.goto(address)
    said(page, "Both models are ready.")
    return page


def said(page: Page, text: str) -> str:
    """Wait until the page's live region says this; all that it says."""
    page.wait_for_function("part => document.getElementById('status').textContent.includes(part)",
                           arg=text)  # fmt: skip
    return page.locator("#status").inner_text()


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the element has the focus."""
    for _ in range(40):
        if page.evaluate("document.activeElement.id") == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never reaches {name}")


def use(page: Page) -> None:
    """All three sections, by keyboard."""
    assert "positive" in page.locator("#predictions .card").first.inner_text()
    tab_to(page, "example")
    page.keyboard.press("ArrowDown")
    tab_to(page, "text")
    page.keyboard.press("Control+A")
    page.keyboard.type("The waiter was friendly, and the soup was delicious.")
    tab_to(page, "eps")
    page.keyboard.press("ArrowRight")
    assert page.locator("#eps-is").inner_text() == "0.35"
    tab_to(page, "push")
    page.keyboard.press("Enter")
    assert "reviews-robust" in said(page, "under PGD")
    tokens = page.locator("#pushed .card").first.locator("ul.tokens li")
    assert tokens.count() == 11, tokens.all_inner_texts()
    marks = [page.locator("#pushed .card").nth(k).locator("td:last-child").all_inner_texts()
             for k in range(2)]  # fmt: skip
    assert [[m[0] for m in some] for some in marks] == [list("✓✓✗✗"), list("✓✓✓✓")], marks
    before = tokens.all_inner_texts()
    page.locator("#shown").select_option("Noise")
    assert tokens.all_inner_texts() != before
    page.locator("#shown").select_option("PGD")
    for kind in ("substitutes", "typos"):
        tab_to(page, kind)
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.getElementById('stop').hidden")
        said(page, "reviews-robust: ")
        queries = page.locator("#changed .card").first.locator("ol.queries li")
        stated = page.locator("#changed .card").first.inner_text()
        assert f"{queries.count()} queries" in stated, stated
        if kind == "substitutes":
            assert "Fooled after 16 queries" in stated and "delectable" in stated, stated


def names(page: Page) -> None:
    """Every control has a name, and every region that changes is announced."""
    bare = page.evaluate("""() => [...document.querySelectorAll('input, select, textarea, button, meter')]
        .filter(e => !(e.labels?.length || e.ariaLabel || e.textContent.trim())).map(e => e.outerHTML)""")  # fmt: skip  # noqa: E501
    assert not bare, bare
    assert page.locator("[role=status][aria-live=polite]").count() == 1
    assert page.locator("h1").count() == 1 and page.locator("html[lang]").count() == 1


def hostile(page: Page) -> None:
    """A text that is also HTML stays a text."""
    page.locator("#text").fill(HOSTILE)
    for button, done in (("push", "under PGD"), ("substitutes", "reviews-robust:")):
        page.locator(f"#{button}").click()
        said(page, done)
        page.wait_for_function("() => document.getElementById('stop').hidden")
    assert page.locator("main img, #mine").count() == 0
    assert "<b id='mine'>" in page.locator("#changed").inner_text()
    page.locator("#text").fill("")
    page.locator("#push").click()
    page.wait_for_function("() => !document.getElementById('trouble').hidden")
    assert "type a sentence" in page.locator("#trouble").inner_text()


def main() -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    with served() as address:
        with chromium() as browser:
            for width, scheme in ((1280, "light"), (400, "dark"), (400, "light"), (1280, "dark")):
                page = opened(browser, address, viewport={"width": width, "height": 900},
                              color_scheme=scheme)  # fmt: skip
                use(page)
                names(page)
                page.screenshot(path=SHOTS / f"{width}_{scheme}.png", full_page=True)
                wide = page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, f"at {width} px the page is {wide} px wide"
                assert not (low := page.evaluate(CONTRAST)), f"{scheme}: too little contrast: {low}"
                if width == 400:
                    hostile(page)
                assert not page.troubles, page.troubles
                page.context.close()
                print(f"{width} px, {scheme}: used by keyboard, no request left the host")
        with chromium("--js-flags=--jitless") as browser:  # without a compiler no WebAssembly
            page = browser.new_page()
            page.goto(address)
            page.locator("#trouble:not([hidden])").wait_for(timeout=WAIT)
            assert "needs WebAssembly" in page.locator("#trouble").inner_text()
            print("without WebAssembly: the page says so")


if __name__ == "__main__":
    main()
