"""The source of the site: what tools/build_site.py makes of the notebooks and of docs/."""

import json
import re
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from course import LESSONS

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import build_site as site

ROOT = Path(__file__).parents[1]
NAMES = [f"{number}_{title}" for number, title in LESSONS.items()]
ROWS = site.rows((ROOT / "README.md").read_text())


def read(folder, name):
    return nbformat.read(ROOT / folder / f"{name}.ipynb", as_version=4)


def page(name, figures, repo=site.PLACEHOLDER, **more):
    solved, learner = read("solutions", name), read("notebooks", name)
    return site.page(solved, learner, name, ROWS[name[:2]], repo, figures, **more)


def html(cell):
    return "".join(o.get("data", {}).get("text/html", "") for o in cell.get("outputs", []))


# --- the lessons ----------------------------------------------------------------------------


def test_the_table_of_the_readme_has_every_lesson():
    assert list(ROWS) == list(LESSONS)
    assert all(row.minutes.endswith("min") and row.about for row in ROWS.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_page_needs_no_kernel_and_hides_what_a_reader_should_find(name, tmp_path):
    solved, learner = read("solutions", name), read("notebooks", name)
    made = page(name, tmp_path)
    stubs = {cell.id: cell.source for cell in learner.cells}
    data = [o.get("data", {}) for c in made.cells for o in c.get("outputs", [])]
    assert not any(site.WIDGET in d or "image/png" in d for d in data)
    assert "your guess: no guess" not in json.dumps(made)

    # Every exercise: the learner's stub, and right below it the solution, folded.
    exercises = [i for i, c in enumerate(made.cells)
                 if c.cell_type == "code" and site.CALL.search(c.source)]  # fmt: skip
    assert exercises
    for i in exercises:
        assert made.cells[i].metadata["tags"] == ["hide-cell"]
        assert "# SOLUTION" not in made.cells[i].source
        before = made.cells[i - 1].source
        assert before == f"```python\n{stubs[made.cells[i].id]}\n```"
        assert "raise NotImplementedError" in before

    # Every prediction: a form that has the question and the result that the notebook printed.
    asked = sum("course.predict(" in c.source for c in solved.cells if c.cell_type == "code")
    forms = "".join(map(html, made.cells))
    assert forms.count('<form class="predict"') == asked > 0
    assert forms.count('class="predict-result" role="status" hidden') == asked

    # Every picture: a file, with what it shows in words.
    pictures = sum("image/png" in o.get("data", {}) for c in solved.cells
                   for o in c.get("outputs", []))  # fmt: skip
    shown = re.findall(r'<img class="figure" src="../_static/figures/(\S+?)".*? alt="(.+?)">',
                       forms)  # fmt: skip
    assert len(shown) == pictures == len(list(tmp_path.iterdir()))
    assert all((tmp_path / file).read_bytes().startswith(b"\x89PNG") for file, _ in shown)


def test_the_first_cell_says_what_can_be_done_with_the_page(tmp_path):
    name = "03_fgsm_and_fgm"
    title, bar, then = page(name, tmp_path).cells[0].source.split("\n\n")[:3]
    assert then == "**You will**"  # the neighbours stand at the foot of the page
    assert title == "# 03 · FGSM and FGM on BERT embeddings"
    assert f"<../downloads/{name}.ipynb>" in bar and "65 min for you" in bar
    assert "Colab" not in bar and "address of this copy" not in bar  # there is no address yet

    told = page(name, tmp_path, repo="me/fork").cells
    badge = f"https://colab.research.google.com/github/me/fork/blob/main/notebooks/{name}.ipynb"
    assert badge in told[0].source
    assert any(badge in html(cell) for cell in told)  # where the controls are


def test_the_first_cell_keeps_what_else_it_says():
    source = ("# 00 · T\n\n[![Open in Colab](x)](y)\n\n← [a](b.ipynb) &nbsp;|&nbsp; [c](d.ipynb) →"
              "\n\nFirst of all.\n\n**You will**\n- x")  # fmt: skip
    made = site.with_bar(source, "00_start_here", ROWS["00"], site.PLACEHOLDER).split("\n\n")
    assert made[0] == "# 00 · T" and "45 min" in made[1]
    assert made[2:] == ["First of all.", "**You will**\n- x"]


def test_a_widget_gives_way_to_a_sentence_and_a_finished_bar_to_nothing(tmp_path):
    def shown(text, **more):
        output = nbformat.v4.new_output("display_data", {site.WIDGET: {}, "text/plain": text})
        made = site.still(output, tmp_path / "x.png", "00_start_here", site.PLACEHOLDER,
                          more.get("laboratory", False))  # fmt: skip
        return made and made.data["text/html"]

    assert "figure above" in shown("VBox(children=(FloatSlider(value=0.6), …")
    assert "buttons" in shown("VBox(children=(HTML(value='<b>1</b>…")
    assert "laboratory" not in shown("VBox(children=(Textarea(value='…")
    assert "../laboratory/index.html" in shown("VBox(children=(Textarea(value='…", laboratory=True)
    assert shown("standard:   0%|          | 0/2 [00:00<?, ?it/s]") is None


def test_a_picture_without_words_is_refused(tmp_path):
    output = nbformat.v4.new_output("display_data", {"image/png": "AAAA", "text/plain": "Figure"})
    with pytest.raises(site.Refused, match="without an alt text"):
        site.still(output, tmp_path / "x.png", "00_start_here", site.PLACEHOLDER, False)


def test_text_that_only_the_solution_has_is_folded():
    learner = "Before.\n\nAfter.\n\n<details><summary>What you should see</summary>"
    solved = "Before.\n\n| the | answer |\n\nAfter.\n\n<details open><summary>What you should see" \
             "</summary>"  # fmt: skip
    made = site.folded(solved, learner)
    assert re.search(r"<summary>Solution</summary>\s+\| the \| answer \|\s+</details>", made)
    assert made.count("After.") == 1
    opened = learner.replace("<details>", "<details open>")
    assert site.folded(opened, learner) == opened
    with pytest.raises(site.Refused, match="more than one place"):
        site.folded("one A two B three", "one two three")


# --- predictions ----------------------------------------------------------------------------


def asks(call, printed="Predict: how many?", results=None):
    cell = nbformat.v4.new_code_cell(f"guess = {call}")
    cell.outputs = [nbformat.v4.new_output("stream", text=f"{printed}\n")]
    return site.question(cell, {"how many?": "'b'"} if results is None else results)


def test_a_prediction_is_read_from_its_cell():
    made, options = asks('course.predict("01.a", "how many?", options=("a", "b"))')
    assert (made.result, options) == ("b", ["a", "b"])
    made, options = asks('course.predict("01.a", f"{x}?", low=0, high=2, unit="%")',
                         results={"how many?": "0.5 %"})  # fmt: skip
    assert (made.low, made.high, made.unit, options) == (0, 2, "%", [])
    with pytest.raises(site.Refused, match="no result"):
        asks('course.predict("01.a", "how many?", low=0, high=2)', results={})


def test_a_form_shows_text_and_never_markup():
    made = site.Prediction("01.a", "is <b> & </b> bold?", None, result="<i>")
    form = site.form(made, ["<script>", 'a"b'])
    assert "is &lt;b&gt; &amp; &lt;/b&gt; bold?" in form and "<script>" not in form
    assert 'value="a&quot;b"' in form and "<b>&lt;i&gt;</b>" in form


def test_the_result_is_taken_out_of_what_the_page_prints():
    text = "how many?\n  your guess: no guess\n  result:     19\nmore\n"
    output = nbformat.v4.new_output("stream", text=f"before\n{text}")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[output])])
    assert site.revealed(notebook) == {"how many?": "19"}
    assert site.still(output, Path("x"), "x", "x", False).text == "before\nmore\n"


# --- links ----------------------------------------------------------------------------------


@pytest.mark.parametrize("text, page, made", [
    ("[a](../docs/results/games.md#why)", "solutions/13_x.ipynb", "[a](../results/games.md#why)"),
    ("[a](04_pgd.ipynb) [b](#here)", "solutions/03_x.ipynb", "[a](04_pgd.ipynb) [b](#here)"),
    ("[t](../README.md#lessons)", "docs/teaching.md", "[t](lessons/index.md)"),
    ("[s](../CONTRIBUTING.md#set-up)", "docs/teaching.md", "[s](contributing.md#set-up)"),
    ("[l](../solutions/04_pgd.ipynb)", "docs/scaling.md", "[l](lessons/04_pgd.ipynb)"),
    ("[`page.py`](../examples/page.py) and", "docs/library.md", "`page.py` and"),
    ("![w](../img/run.png)", "docs/results/README.md", "![w](../img/run.png)"),
    ("[o](https://example.org/a_b)", "docs/library.md", "[o](https://example.org/a_b)"),
    ("`d[i](x)` and\n```\nf[0](y)\n```\n", "docs/library.md", "`d[i](x)` and\n```\nf[0](y)\n```\n"),
])  # fmt: skip
def test_links_lead_to_the_site(text, page, made):
    assert site.relink(text, page) == made


def test_a_file_without_a_page_is_shown_in_the_repository():
    made = site.relink("[`p`](../examples/page.py)", "docs/library.md", "me/fork")
    assert made == "[`p`](https://github.com/me/fork/blob/main/examples/page.py)"


def test_a_link_that_leads_nowhere_is_refused():
    with pytest.raises(site.Refused, match="gone.md"):
        site.relink("[x](gone.md)", "docs/library.md")


def test_the_laboratory_is_named_only_where_there_is_one():
    link = "[fool a model](../docs/laboratory/index.html)", "solutions/00_start_here.ipynb"
    assert site.relink(*link) == "fool a model"
    there = site.relink(*link, laboratory=True)
    assert there == '<a href="../laboratory/index.html">fool a model</a>'
    text = (ROOT / "docs" / "index.md").read_text()
    assert "laboratory/index.html" in site.landing(text, True)
    assert "laborator" not in site.landing(text, False).split("## Where to begin")[0]
    assert "<!--" not in site.landing(text, True) + site.landing(text, False)


# --- docstrings -----------------------------------------------------------------------------


def test_a_docstring_is_shown_as_it_is_written():
    made = site.plain([
        "All δ with |x_i| * 2 <= `eps`; see `a_b`s.", "",
        "eps, tau: radius, in", "    `units`.", "norm: which one.",
        "Raises ValueError for", "another.", "", "    code * as_is", ""])  # fmt: skip
    assert site.plain(["Attacks: what they do."])[0] == "Attacks: what they do."
    assert made[0] == r"All δ with \|x\_i\| \* 2 <= \ ``eps``\ ; see \ ``a_b``\ s."
    assert made[2:4] == ["``eps``, ``tau``", r"    radius, in \ ``units``\ ."]
    assert made[5:7] == ["``norm``", "    which one."]
    assert made[8] == "Raises ValueError for another."
    assert made[10:13] == ["::", "", "    code * as_is"]


# --- what is written by hand ----------------------------------------------------------------


def plain_text(name):
    """The text cells of a lesson, in small letters, without marks and line breaks."""
    cells = [c.source for c in read("solutions", name).cells if c.cell_type == "markdown"]
    return re.sub(r"[\s*`]+", " ", "\n".join(cells)).lower()


def test_every_term_of_the_glossary_is_in_the_lesson_that_it_names():
    text = (ROOT / "docs" / "glossary.md").read_text()
    entries = re.findall(r"^(\S.*)\n  (.+) \[Lesson (\d\d)\]\(../solutions/(\S+)\.ipynb\)$",
                         text.split(":::{glossary}\n")[1], re.M)  # fmt: skip
    assert len(entries) >= 60
    terms = [term for term, *_ in entries]
    assert terms == sorted(set(terms), key=str.lower)
    assert {number for _, _, number, _ in entries} == set(LESSONS)
    lessons = {name: plain_text(name) + json.dumps(read("notebooks", name)).lower()
               for name in NAMES}  # fmt: skip
    for term, _, number, name in entries:
        assert name.startswith(number)
        assert term.lower() in lessons[name], f"{term}: not in lesson {number}"


def cited():
    """(number of a lesson, text) of each paper under its Further reading; a manual, which has an
    address in place of authors and year, is none."""
    for name in NAMES:
        for cell in read("solutions", name).cells:
            _, found, rest = cell.source.partition("## Further reading\n")
            if found:
                items = re.split(r"\n(?=- )", rest.split("\n> ")[0].strip())
                papers = (item for item in items if not re.match(r"- \*.+?\*, \w+\.org/", item))
                yield from ((name[:2], re.sub(r"\s+", " ", item)) for item in papers)


def test_the_reading_list_has_what_the_lessons_cite_and_nothing_else():
    text = (ROOT / "docs" / "reading.bib").read_text()
    entries = []
    for entry in re.split(r"^@", text, flags=re.M)[1:]:
        fields = dict(re.findall(r"^  (\w+) = \{+(.+?)\}+,$", entry, re.M))
        notes = re.fullmatch(r"Lessons? ([\d, ]+)", fields["note"])
        entries.append((fields["title"], fields.get("eprint"), notes[1].split(", "), fields))
    ids = [id for _, id, *_ in entries if id]
    assert len(ids) == len(set(ids))

    items = list(cited())
    assert len(items) > 100
    seen = {title: set() for title, *_ in entries}
    for number, item in items:
        named = re.findall(r"arXiv (\d{4}\.\d{4,5})", item)
        found = [e for e in entries if (e[1] in named if e[1] else e[0].lower() in item.lower())]
        assert found, f"lesson {number} cites what docs/reading.bib lacks: {item}"
        assert set(named) <= {id for _, id, *_ in found}, item
        for title, _, _, fields in found:
            seen[title].add(number)
            titles = re.findall(r"\*(.+?)\*", item)  # some by their beginning
            assert any(title.lower().startswith(t.lower()) for t in titles), f"{title}: {item}"
            year = fields["year"]
            assert year in item, f"lesson {number}: another year than {year} in {item}"
            first = fields["author"].split(" and ")[0].split()[-1]
            assert first in item, f"lesson {number}: another first author than {first} in {item}"
    for title, _, notes, _ in entries:
        assert seen[title] == set(notes), f"{title}: lessons {sorted(seen[title])} cite it"


def test_the_workflow_checks_the_site_before_it_publishes_it():
    workflow = yaml.safe_load((ROOT / ".github/workflows/site.yml").read_text())
    jobs = workflow["jobs"]
    assert {"run": "make site-check"} in jobs["check"]["steps"]
    assert jobs["publish"]["needs"] == "check"
    upload = next(s for s in jobs["check"]["steps"] if "upload-pages" in s.get("uses", ""))
    assert upload["with"]["path"] == "build/site/html"
    assert "build/site/html" in (ROOT / "Makefile").read_text()
