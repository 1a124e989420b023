"""tools/collect.py: what is read out of notebooks that were handed in."""

import sys
from pathlib import Path

import nbformat
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from collect import main, row, verdicts


def page(*sources):
    nb = nbformat.v4.new_notebook()
    nb.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    return nb


def test_the_last_word_on_an_exercise_counts():
    nb = page("a", "b", "c")
    said = nbformat.v4.new_output
    right = "Exercise 03.1 (One step): right. The rest of the notebook uses your own version."
    nb.cells[0].outputs = [said("stream", text=right + "\nExercise 03.2 (A mask): right. The rest")]
    nb.cells[1].outputs = [said("error", ename="NotYet", evalue="Exercise 03.2: not yet. The sign")]
    nb.cells[2].outputs = [
        said("stream", text="Exercise 03.3 (Norms) is not attempted yet: the course's own version"),
        said("error", ename="NotYet", evalue="Exercise 03.4: your code stopped with ValueError"),
        said("stream", text="In Exercise 03.5 you will see whether this is right."),
    ]
    assert verdicts(nb) == {"03.1": "right", "03.2": "wrong", "03.3": "open", "03.4": "wrong"}


def test_a_notebook_is_run_again_to_its_end_and_stored_outputs_are_forgotten(tmp_path):
    nb = page(
        "import course",
        'f = course.exercise("00.3", lambda *given: None)',
        'def g(*given):\n    raise NotImplementedError("Exercise 00.4")\n',
        'g = course.exercise("00.4", g)',
        "from course.lesson_00.checks import EXERCISES",
        'h = course.exercise("00.2", EXERCISES["00.2"].course)',
    )
    claim = nbformat.v4.new_output("stream", text="Exercise 00.3 (x): right. Exercise 00.1: right")
    nb.cells[0].outputs = [claim]
    file = tmp_path / "ann" / "my.ipynb"
    file.parent.mkdir()
    nbformat.write(nb, file)
    name, lesson, right, of, told = row(file, tmp_path, execute=True)
    assert (name, lesson, right) == ("ann/my.ipynb", "00", "1") and int(of) >= 4
    assert "00.2 right; " in told
    assert "00.1 not run; " in told and "00.3 wrong; 00.4 open" in told
    assert "00.3 right" in row(file, tmp_path, execute=False)[4]


def test_what_is_no_notebook_does_not_stop_the_rest(tmp_path, monkeypatch, capsys):
    (tmp_path / "a.ipynb").write_text("no JSON")
    nbformat.write(page("1 + 1"), tmp_path / "b.ipynb")
    monkeypatch.setattr(sys, "argv", ["collect.py", str(tmp_path)])
    main()
    said = capsys.readouterr()
    assert said.out.splitlines()[1:] == ["a.ipynb,,,,", "b.ipynb,,,,"]
    assert "cannot be read" in said.err and "no exercise" in said.err
    monkeypatch.setattr(sys, "argv", ["collect.py", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit, match="no notebook"):
        main()
