"""Use the widgets of the solved notebooks in a real browser: `make browser-check`.

Each notebook with a widget is opened in JupyterLab and run to its end. Every cell must run
without an error. Then each slider is moved and the playground's button pressed, and what they
show must change. Screenshots are left in runs/browser/. The browser is a Chromium on this machine
or, where there is none, the one that playwright brings.
"""

from __future__ import annotations

import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
from playwright.sync_api import Error, Page, sync_playwright

ROOT = Path(__file__).parents[1]
SHOTS = ROOT / "runs" / "browser"
SECONDS = 300  # for a notebook to run to its end
IDLE = "All cells have run"
HANDLE = ".widget-slider .noUi-handle, .widget-slider .ui-slider-handle"


def with_widgets() -> list[Path]:
    """The solved notebooks that make a widget on their page."""
    made = re.compile(r"ipywidgets|figures\.explore|playground\(|course\.predict\(")
    return [p for p in sorted(ROOT.glob("solutions/[0-9][0-9]_*.ipynb"))
            if made.search(p.read_text())]  # fmt: skip


def unexecuted(source: Path, target: Path) -> None:
    """A copy without outputs, with a last cell that says that it was reached."""
    notebook = nbformat.read(source, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.cells.append(nbformat.v4.new_code_cell(f"print({IDLE!r})", id="the-end"))
    nbformat.write(notebook, target)


def serve(folder: Path) -> tuple[subprocess.Popen, str]:
    """JupyterLab on a free port; (process, address with token)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    settings = folder / ".settings"  # nobody is there to answer whether news is wanted
    news = settings / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text('{"fetchNews": "false"}')
    log = (folder / "lab.log").open("w")
    lab = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
         f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}",
         "--LabApp.expose_app_in_browser=True", f"--LabApp.user_settings_dir={settings}",
         "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"],
        stdout=log, stderr=log,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{address}/api?token={token}", timeout=2)
            return lab, f"{address}/lab/tree/{{name}}?token={token}&reset"
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.5)
    lab.kill()
    sys.exit(f"JupyterLab did not start:\n{(folder / 'lab.log').read_text()[-2000:]}")


def run_all(page: Page, address: str) -> None:
    """Open the notebook, run all cells, and wait for the last one."""
    page.goto(address)
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
    for _ in range(120):  # without a kernel, running would ask which one to take
        if "idle" == page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status"
        ):
            break
        time.sleep(0.5)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    for _ in range(2 * SECONDS):
        # Cells out of sight are not in the page: the front end is asked for the notebook itself.
        outputs = page.evaluate(
            """() => [...window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells]
                .filter(c => c.cell_type === 'code').map(c => c.getOutputs())"""
        )
        for output in (o for cell in outputs for o in cell):
            assert output["output_type"] != "error", f"{output['ename']}: {output['evalue']}"
        if IDLE in str(outputs[-1]):
            return
        time.sleep(0.5)
    raise AssertionError(f"did not reach its end in {SECONDS} s")


def cells_with(page: Page, mark: str) -> list[int]:
    """The places of the code cells whose source has the mark."""
    return page.evaluate(
        """mark => [...window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells]
            .map((c, i) => c.cell_type === 'code' && c.getSource().includes(mark) ? i : -1)
            .filter(i => i >= 0)""",
        mark,
    )


def show(page: Page, place: int):
    """Scroll to a cell; its element."""
    page.evaluate(
        """async i => {
            const notebook = window.jupyterapp.shell.currentWidget.content;
            notebook.activeCellIndex = i;
            await notebook.scrollToItem(i, 'start');
        }""",
        place,
    )
    cell = page.locator(f'.jp-Notebook .jp-Cell[data-windowed-list-index="{place}"]')
    cell.wait_for(timeout=20_000)
    return cell


def pictures(cell) -> list[str]:
    return cell.locator(".jp-OutputArea img").evaluate_all("all => all.map(i => i.src)")


def changes(cell, before: list[str]) -> bool:
    """Whether a figure of the cell becomes another one within twenty seconds."""
    for _ in range(100):
        now = pictures(cell)
        if now and now != before and len(now) >= len(before):
            return True
        time.sleep(0.2)
    return False


def use_sliders(page: Page, place: int, shot: Path) -> int:
    """Move every slider of the cell; each must change the figure. How many there are."""
    cell = show(page, place)
    handles = cell.locator(HANDLE)
    handles.first.wait_for(timeout=20_000)
    for k in range(handles.count()):
        before = pictures(cell)
        assert before, f"cell {place}: no figure beside the slider"
        cell.screenshot(path=shot.with_name(f"{shot.name}_{k}_before.png"))
        handles.nth(k).focus()
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        assert changes(cell, before), f"cell {place}: slider {k} was moved, the figure stayed"
        cell.screenshot(path=shot.with_name(f"{shot.name}_{k}_after.png"))
    return handles.count()


def use_playground(page: Page, place: int, shot: Path) -> None:
    """Type a text that is also HTML, press Attack: words are marked, the HTML is shown as text."""
    cell = show(page, place)
    area = cell.locator("textarea")
    area.wait_for(timeout=20_000)
    area.fill("The waiter was friendly, and the soup was delicious. <b id='mine'>")
    cell.get_by_role("button", name="Attack").click()
    answer = cell.locator(".widget-html-content").filter(has_text="Queries")
    answer.wait_for(timeout=30_000)
    assert "<b id='mine'>" in answer.inner_text(), "typed HTML is not shown as it was typed"
    assert not cell.locator("#mine").count(), "typed HTML became part of the page"
    cell.screenshot(path=shot.with_name(f"{shot.name}_playground.png"))


def use_predictions(page: Page, place: int, shot: Path) -> None:
    """The first question of a page shows a slider or buttons that answer."""
    cell = show(page, place)
    asked = cell.locator(f"{HANDLE}, .widget-toggle-buttons button")
    asked.first.wait_for(timeout=20_000)
    cell.screenshot(path=shot.with_name(f"{shot.name}_predict.png"))


def check(page: Page, address: str, notebook: Path) -> str:
    """Run and use one notebook; a line on what was done. Raises where something does not work."""
    start = time.perf_counter()
    run_all(page, address.format(name=notebook.name))
    ran = time.perf_counter() - start
    shot = SHOTS / notebook.stem
    marks = ("ipywidgets.interact", "figures.explore", "figures.move_votes")
    moving = [place for mark in marks for place in cells_with(page, mark)]
    sliders = sum(use_sliders(page, i, shot) for i in moving)
    grounds = cells_with(page, "playground(victim")
    for place in grounds:
        use_playground(page, place, shot)
    asked = cells_with(page, "course.predict(")
    for place in asked[:1]:
        use_predictions(page, place, shot)
    assert sliders or grounds, "no slider and no playground was found on the page"
    return (f"{notebook.stem}: ran in {ran:.0f} s; {sliders} sliders moved, {len(grounds)} "
            f"playgrounds used, {len(asked)} questions asked")  # fmt: skip


def main() -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    failed = []
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        notebooks = [folder / path.name for path in with_widgets()]
        for path in with_widgets():
            unexecuted(path, folder / path.name)
        lab, address = serve(folder)
        try:
            own = shutil.which("chromium") or shutil.which("google-chrome")
            browser = playwright.chromium.launch(executable_path=own, args=["--no-sandbox"])
            for notebook in notebooks:
                page = browser.new_page(viewport={"width": 1200, "height": 1000})
                try:
                    print(check(page, address, notebook), flush=True)
                except (AssertionError, Error) as error:
                    failed.append(f"{notebook.stem}: {error}")
                    page.screenshot(path=SHOTS / f"{notebook.stem}_failed.png")
                page.close()
            browser.close()
        finally:
            lab.terminate()
            lab.wait(timeout=30)
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
