"""The pipeline that builds the notebooks, tried on lessons that are broken on purpose."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from course import LESSONS
from course.checking import Exercise, compare

import notebooks
from notebooks import (
    Refused,
    carry,
    differs,
    execute,
    make,
    output_problems,
    point_to,
    state_time,
)

LESSON = '''\
# %% [markdown]
# # 99 · A lesson
# {{BADGE}}
#
# **You will**
# - double a number
#
# **Time** {{TIME}} About 5 minutes for you.
#
# **Before** nothing

# %% tags=["setup"]
import advlib
import course

profile = course.setup()

# %% [markdown]
# ### Exercise 99.1: double it · ●○○ · 5 min
# Write `double`.
# <!-- SOLUTION -->
# Adding a number to itself doubles it.
# <!-- END SOLUTION -->
# <details><summary>Hint</summary> times two </details>

# %%
def double(x):
    """2x"""
    # SOLUTION
    return x + x  # the sum of both
    # END SOLUTION


double = course.exercise("99.1", double)

# %%
# NBVAL_CHECK_OUTPUT
print(double(21))

# %% [markdown]
# ## Recap
# ## What could go wrong
# ## Further reading
# > **Ethics** none
'''


def check_double(double):
    for x in (0, 1, -3, 7):
        compare(double(x), 2 * x, given={"x": x}, mistakes={"you square it": x * x})


def answer(x):
    """the course's"""
    two = 2  # not one
    assert two
    return 2 * x  # twice


@pytest.fixture(autouse=True)
def lesson_99(monkeypatch):
    module = type(sys)("course.lesson_99.checks")
    module.EXERCISES = {"99.1": Exercise("double it", check_double, answer)}
    monkeypatch.setitem(sys.modules, "course.lesson_99.checks", module)
    monkeypatch.setitem(LESSONS, "99", "a_lesson")


def build(tmp_path, text=LESSON, seconds=None):
    source = tmp_path / "lesson_99" / "lesson.py"
    source.parent.mkdir(exist_ok=True)
    source.write_text(text)
    return make(source, "someone/course", seconds or {})


def test_the_copy_has_stubs_and_no_solution_and_the_other_has_both(tmp_path):
    copy, solved = build(tmp_path, seconds={"99_a_lesson": 11.2})
    shown = "\n".join(c.source for c in copy.cells)
    assert 'raise NotImplementedError("Exercise 99.1")' in shown
    assert "the sum of both" not in shown and "SOLUTION" not in shown
    assert "doubles it" not in shown
    whole = "\n".join(c.source for c in solved.cells)
    assert "the sum of both" in whole and "doubles it" in whole
    for text in (shown, whole):
        assert "github/someone/course/blob/main/notebooks/99_a_lesson.ipynb" in text
        assert "git+https://github.com/someone/course" in text and "_exit_code == 0" in text
        assert "Runs in 15 s" in text and "{{" not in text
    nbformat.validate(copy)
    nbformat.validate(solved)


def test_a_page_without_an_address_says_how_to_set_it_and_leads_nowhere(tmp_path):
    build(tmp_path)
    copy, _ = make(tmp_path / "lesson_99" / "lesson.py", "OWNER/REPOSITORY", {})
    text = "\n".join(c.source for c in copy.cells)
    assert not re.search("github.com/OWNER|pip install|colab.research", text)
    assert text.count("make notebooks REPO=owner/name") == 2
    compile(next(c.source for c in copy.cells if "find_spec" in c.source), "setup", "exec")


def test_the_stub_keeps_the_function_whole(tmp_path):
    copy, _ = build(tmp_path)
    cell = next(c.source for c in copy.cells if "def double" in c.source)
    space = {"course": type("A", (), {"exercise": staticmethod(lambda id, f: f)})}
    exec(cell, space)
    with pytest.raises(NotImplementedError, match="Exercise 99.1"):
        space["double"](1)


OPEN = LESSON.replace("    return x + x  # the sum of both\n    # END SOLUTION\n", "")


def test_an_answer_that_stands_once_is_put_into_the_page(tmp_path):
    """As in the cell with both marks: its docstring is the page's, its body that of checks.py."""
    copy, solved = build(tmp_path, OPEN)
    shown, whole = ("\n".join(c.source for c in nb.cells) for nb in (copy, solved))
    assert whole.count("    return 2 * x  # twice") == 1 and "2x" in whole
    assert "# SOLUTION\n    two = 2" in whole and "the course's" not in whole
    assert "# twice" not in shown and 'raise NotImplementedError("Exercise 99.1")' in shown


def test_an_answer_with_other_parameters_is_refused(tmp_path):
    with pytest.raises(Refused, match=r"double\(y\).*\(x\)"):
        build(tmp_path, OPEN.replace("def double(x)", "def double(y)"))


def test_an_import_that_nobody_uses_is_refused(tmp_path):
    with pytest.raises(Refused, match="never used: math"):
        build(tmp_path, OPEN.replace("print(double", "import math\nprint(double"))


@pytest.mark.parametrize(
    "old,new,words",
    [
        ("**You will**", "You may", "objectives"),
        ("**Time**", "Time", "times"),
        ("## Recap", "## End", "recap"),
        ("**Ethics**", "Ethics", "ethics"),
        ("{{BADGE}}", "", "badge"),
        (' tags=["setup"]', "", "setup"),
        ("●○○ · ", "", "difficulty"),
        (" · 5 min", "", "minutes"),
        ("<summary>Hint", "<summary>Help", "hint"),
        ('exercise("99.1"', 'exercise("99.7"', "no check"),
        ("    # SOLUTION\n", "", "no solution"),
        ("    # END SOLUTION\n", "", "END SOLUTION"),
        ("# NBVAL_CHECK_OUTPUT", "%unknown_magic", "no magics"),
        ("# NBVAL_CHECK_OUTPUT", "!pip install nothing-at-all", "no magics"),
        ("# %%\n# NBVAL", '# %% tags=["raises-exception"]\n# NBVAL', "raises-exception"),
        ("print(double(21))", "y = lambda x: x\nreturn x + x  # the sum of both", "still shows"),
    ],
)
def test_a_lesson_that_breaks_a_rule_is_refused(tmp_path, old, new, words):
    assert old in LESSON
    with pytest.raises(Refused, match=words):
        build(tmp_path, LESSON.replace(old, new, 1))


def test_a_changed_notebook_is_noticed(tmp_path):
    copy, _ = build(tmp_path)
    file = tmp_path / "99_a_lesson.ipynb"
    assert "missing" in differs(file, copy)
    nbformat.write(copy, file)
    assert differs(file, copy) is None
    copy.cells[-1].source += " "
    assert "make notebooks" in differs(file, copy)


@pytest.mark.parametrize(
    "text,stream", [("a FutureWarning: old", "stdout"), ("saved in /home/x", "stdout"),
                    ("bert.pooler | MISSING", "stdout"), ("anything", "stderr")],
)  # fmt: skip
def test_noise_in_outputs_is_refused(text, stream):
    nb = nbformat.v4.new_notebook()
    nb.cells = [nbformat.v4.new_code_cell("x")]
    nb.cells[0].outputs = [nbformat.v4.new_output("stream", name=stream, text=text)]
    assert output_problems(nb)
    nb.cells[0].outputs = [nbformat.v4.new_output("stream", name="stdout", text="42")]
    assert not output_problems(nb)


def test_a_notebook_that_is_too_large_is_refused():
    nb = nbformat.v4.new_notebook()
    nb.cells = [nbformat.v4.new_markdown_cell("x" * (notebooks.LARGEST + 1))]
    assert "MiB" in output_problems(nb)[0]


def test_nbval_sees_failing_cells_and_marked_outputs(tmp_path):
    def page(name, *sources, outputs=None):
        nb = nbformat.v4.new_notebook()
        nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        nb.cells = [nbformat.v4.new_code_cell(s) for s in sources]
        if outputs is not None:
            nb.cells[-1].outputs = [nbformat.v4.new_output("stream", name="stdout", text=outputs)]
            nb.cells[-1].execution_count = 1
        nbformat.write(nb, tmp_path / f"{name}.ipynb")

    page("good", "x = 1", "assert x == 1")
    page("bad", "x = 1", "assert x == 2")
    page("good_output", "# NBVAL_CHECK_OUTPUT\nprint(3)", outputs="3\n")
    page("bad_output", "# NBVAL_CHECK_OUTPUT\nprint(3)", outputs="4\n")
    # An install that fails is seen only because the setup cell asserts its exit code.
    page("bad_setup", "!exit 3\nassert _exit_code == 0")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval-lax"]
    done = subprocess.run([*command, tmp_path], capture_output=True, text=True, cwd=tmp_path)
    failed = set(re.findall(r"^FAILED (\w+)\.ipynb", done.stdout, re.M))
    assert failed == {"bad", "bad_output", "bad_setup"} and "4 passed" in done.stdout, done.stdout


def test_a_broken_cell_stops_the_build(tmp_path):
    nb = nbformat.v4.new_notebook()
    nb.cells = [nbformat.v4.new_code_cell("1 / 0")]
    with pytest.raises(Exception, match="ZeroDivisionError"):
        execute(nb, tmp_path)


def test_a_fork_points_all_its_badges_and_the_sites_address_to_itself(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[tool.advlib]\nrepository = "OWNER/REPOSITORY"\n')  # fmt: skip
    badge = "https://colab.research.google.com/github/{}/blob/main/notebooks/00.ipynb"
    text = badge + " [Site](https://{}/), `https://{}/laboratory/`, https://x.github.io/other/"
    readme, of = tmp_path / "README.md", text.format
    readme.write_text(of("OWNER/REPOSITORY", *["OWNER.github.io/REPOSITORY"] * 2))
    for owner, name in (("me", "my-fork"), ("you", "yours")):  # and once more, from there
        point_to(f"{owner}/{name}", tmp_path)
        assert f'repository = "{owner}/{name}"' in (tmp_path / "pyproject.toml").read_text()
        assert readme.read_text() == of(f"{owner}/{name}", *[f"{owner}.github.io/{name}"] * 2)
    with pytest.raises(Refused, match="owner/name"):
        point_to("https://github.com/me/my-fork", tmp_path)


def page(*sources):
    nb = nbformat.v4.new_notebook()
    nb.cells = [nbformat.v4.new_markdown_cell(sources[0])]
    nb.cells += [nbformat.v4.new_code_cell(source) for source in sources[1:]]
    return nb


def test_outputs_are_kept_where_only_text_has_changed():
    old, new = page("A text", "setup of a/b", "1 + 1"), page("Another", "setup of me/fork", "1 + 1")
    new.cells[1].metadata["tags"] = ["setup"]
    old.cells[2].outputs = [nbformat.v4.new_output("stream", text="2")]
    old.cells[2].execution_count = 7
    carry(old, new, "00")
    assert new.cells[2].outputs[0].text == "2" and new.cells[2].execution_count == 7
    for other in (page("Another", "setup", "1 + 2"), page("Another", "setup of a/b")):
        with pytest.raises(Refused, match="00: code has changed"):
            carry(old, other, "00")


def test_the_readme_gets_the_time_of_the_page(tmp_path):
    row = "| 00 | ([exercises](notebooks/{}.ipynb)) | 45 min | {} s | badge |\n"
    file = tmp_path / "README.md"
    file.write_text(row.format("00_a", 40) + row.format("01_b", 25))
    state_time(page("**Time** Runs in 65 s on 2 CPU cores."), "00_a", tmp_path)
    assert file.read_text() == row.format("00_a", 65) + row.format("01_b", 25)
