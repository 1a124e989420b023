"""Visit every page of the built site in a real browser: `make site-check`.

Each page is opened 1280 pixels wide, light, and 400 pixels wide, dark. It fails for

- a link or an anchor within the site that leads nowhere;
- a picture without an alt text, or one that does not load;
- a request to another host, or one that the site cannot answer;
- an error in the console, an exception, a formula that MathJax could not read;
- a page that is wider than the window;
- a printed table whose lines are wrapped, or cut off.

The laboratory must be there, be linked, and load both of its models. Then the search must find PGD,
each of its pages once, and a prediction must keep its guess.
Screenshots of some pages are left in runs/site. The browser is a Chromium on this machine or, where
there is none, the one that playwright brings.
"""

from __future__ import annotations

import functools
import shutil
import sys
import threading
from collections import Counter
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
SITE = ROOT / "build" / "site" / "html"
SHOTS = ROOT / "runs" / "site"
LABORATORY = "laboratory/index.html"
SHOWN = ("index.html", "lessons/03_fgsm_and_fgm.html", "api/attacks.html", "glossary.html",
         "lessons/07_evaluate_honestly.html", "lessons/12_full_gpu_fine_tuning.html")  # fmt: skip
SIZES = {"light": (1280, 900), "dark": (400, 800)}

# What one page says of itself.
LOOK = """async () => {
  if (window.MathJax?.startup?.promise) await window.MathJax.startup.promise;
  for (const image of document.images) image.loading = "eager";
  await Promise.all([...document.images].map(i => i.decode().catch(() => {})));
  const wide = document.documentElement.clientWidth;
  const scrolls = e => e && e !== document.body &&
    (getComputedStyle(e).overflowX !== "visible" || scrolls(e.parentElement));
  return {
    links: [...document.querySelectorAll("a[href]")].map(a => a.href),
    ids: [...document.querySelectorAll("[id], a[name]")].map(e => e.id || e.name),
    mute: [...document.images].filter(i => !i.alt.trim()).map(i => i.src.slice(0, 120)),
    broken: [...document.images].filter(i => !i.naturalWidth).map(i => i.src.slice(0, 120)),
    formulas: [...document.querySelectorAll("mjx-merror, .katex-error")].map(e =>
      e.getAttribute("data-mjx-error") || e.textContent),
    raw: [...document.querySelectorAll(".math")].filter(e => !e.querySelector("mjx-container"))
      .map(e => e.textContent),
    over: document.documentElement.scrollWidth > wide
      ? [...document.querySelectorAll("body *")].filter(e =>
          e.getBoundingClientRect().right > wide + 1 && !scrolls(e.parentElement))
          .slice(0, 3).map(e => e.outerHTML.slice(0, 120))
      : null,
    printed: [...document.querySelectorAll(".cell_output pre")].filter(e => {
      const style = getComputedStyle(e), lines = e.textContent.trimEnd().split("\\n").length;
      const inner = e.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
      const wrapped = inner > (lines + 0.9) * parseFloat(style.lineHeight);
      return wrapped || (e.scrollWidth > e.clientWidth + 1 && style.overflowX !== "auto");
    }).map(e => e.textContent.trim().slice(0, 60)),
  };
}"""


def serve(folder: Path) -> ThreadingHTTPServer:
    """The folder on a free port of this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    server.handle_error = lambda *_: None  # a browser that leaves a page breaks off what it asked
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def listen(page: Page, base: str, wrong: list[str]) -> None:
    """Write down what a page asks for that it should not, and what it complains of."""

    def asked(request) -> None:
        if not request.url.startswith((base, "data:", "blob:")):
            wrong.append(f"asks another host: {request.url}")

    page.on("request", asked)
    page.on("response", lambda r: r.status >= 400 and wrong.append(f"{r.status}: {r.url}"))
    page.on("pageerror", lambda e: wrong.append(f"exception: {e}"))
    page.on("console", lambda m: m.type == "error" and wrong.append(f"console: {m.text}"))


def visit(page: Page, base: str, name: str, wrong: list[str]) -> dict:
    """Open a page; what it says of itself. What is wrong with it goes into the list."""
    page.goto(f"{base}/{name}", wait_until="load")
    if name == LABORATORY:
        page.get_by_text("Both models are ready.").wait_for(state="attached", timeout=300_000)
    seen = page.evaluate(LOOK)
    wrong += [f"no alt text: {x}" for x in seen["mute"]]
    wrong += [f"picture does not load: {x}" for x in seen["broken"]]
    wrong += [f"MathJax: {x}" for x in seen["formulas"]]
    wrong += [f"a formula stayed TeX: {x}" for x in seen["raw"]]
    wrong += [f"printed lines are wrapped or cut: {x!r}" for x in seen["printed"]]
    if seen["over"] is not None:
        wrong.append(f"wider than the window: {seen['over']}")
    return seen


def dead_links(base: str, seen: dict[str, dict]) -> list[str]:
    """Links within the site that lead to no file, or to no place on its page."""
    out = set()
    for name, page in seen.items():
        for link in page["links"]:
            address, anchor = urldefrag(link)
            if not address.startswith(base):
                continue
            target = unquote(urlparse(address).path).lstrip("/") or "index.html"
            target += "index.html" if target.endswith("/") else ""
            if not (SITE / target).is_file():
                out.add(f"{name}: a link to {target}, which is not there")
            elif anchor and target in seen and unquote(anchor) not in seen[target]["ids"]:
                out.add(f"{name}: a link to {target}#{anchor}, which has no such place")
    return sorted(out)


def laboratory(base: str, seen: dict[str, dict]) -> list[str]:
    """What is missing of the laboratory: the page, or a link to it where a reader begins."""
    out = [] if LABORATORY in seen else ["there is no laboratory: run `make laboratory`"]
    return out + [f"{name} has no link to the laboratory"
                  for name in ("index.html", "lessons/00_start_here.html")
                  if f"{base}/{LABORATORY}" not in seen[name]["links"]]  # fmt: skip


def search(page: Page, base: str) -> list[str]:
    """What is wrong with the search for PGD."""
    page.goto(f"{base}/search.html?q=PGD")
    page.locator("#search-results li a").first.wait_for(timeout=20_000)
    page.wait_for_timeout(1000)  # results come one after the other
    found = page.locator("#search-results li a").evaluate_all("all => all.map(a => a.href)")
    pages = Counter(urldefrag(link)[0] for link in found if "#" not in link)
    out = [f"search finds {link} {n} times" for link, n in pages.items() if n > 1]
    if not any("04_pgd" in link for link in found):
        out.append("search for PGD does not find lesson 04")
    return out


def predict(page: Page, base: str) -> list[str]:
    """What is wrong with the first prediction of lesson 03: hidden before a guess, kept after."""
    address = f"{base}/lessons/03_fgsm_and_fgm.html"
    page.goto(address)
    form = page.locator("form.predict").first
    result = form.locator(".predict-result")
    out = ["a result is shown before the guess"] if result.is_visible() else []
    form.get_by_role("slider").focus()
    page.keyboard.press("ArrowRight")
    form.get_by_role("button").click()
    said = result.inner_text()
    page.goto(address)
    again = page.locator("form.predict .predict-result").first.inner_text()
    if said != again or not said.startswith("Your guess: 46"):
        out.append(f"a guess is not kept: {said!r}, then {again!r}")
    return out


def main() -> None:
    if not (SITE / "index.html").is_file():
        sys.exit("There is no site in build/site/html: run `make site` first.")
    names = sorted(f.relative_to(SITE).as_posix() for f in SITE.glob("**/*.html")
                   if "_static" not in f.parts)  # fmt: skip
    server = serve(SITE)
    base = f"http://127.0.0.1:{server.server_port}"
    program = shutil.which("chromium") or shutil.which("google-chrome")
    failures, seen = [], {}
    SHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for scheme, (width, height) in SIZES.items():
            context = browser.new_context(color_scheme=scheme,
                                          viewport={"width": width, "height": height})  # fmt: skip
            page, wrong = context.new_page(), []
            listen(page, base, wrong)
            for name in names:
                wrong.clear()
                seen[name] = visit(page, base, name, wrong)
                failures += [f"{name} at {width}: {what}" for what in dict.fromkeys(wrong)]
                if name in SHOWN:
                    file = f"{name.removesuffix('.html').replace('/', '-')}-{width}-{scheme}.png"
                    page.screenshot(path=SHOTS / file)
            context.close()
        page = browser.new_page()
        failures += search(page, base) + predict(page, base)
        browser.close()
    server.shutdown()
    failures += dead_links(base, seen) + laboratory(base, seen)
    if failures:
        sys.exit("\n".join([*failures, f"{len(failures)} faults"]))
    print(f"{len(names)} pages, each at {' and '.join(str(w) for w, _ in SIZES.values())} pixels")


if __name__ == "__main__":
    main()
