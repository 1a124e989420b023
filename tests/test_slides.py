"""The slides: one a lesson, each with a figure that has a text for those who do not see it."""

import re
import sys
from pathlib import Path

import pytest

from course import LESSONS

sys.path.append(str(Path(__file__).parents[1] / "tools"))
import slides


@pytest.mark.parametrize("number", LESSONS)
def test_a_slide_has_idea_figure_aims_and_a_question(number):
    page = slides.slide(number)
    assert len(re.search(r'alt="([^"]+)"', page)[1]) > 40
    assert page.count("<li>") >= 3 and 'class="idea"' in page
    assert re.search(r'class="ask"><b>[^<]+\?', page)
    assert "{{" not in page and re.search(r"\d+ minutes", page)


def test_words_of_a_page_are_text():
    assert slides.text("a < b, `x_*`, [page](a.ipynb)") == "a &lt; b, <code>x_*</code>, page"


def test_aims_are_all_read_and_end_without_a_stop():
    page = "# **You will**\n#\n# - do this,\n#   and more;\n# - do that.\n#\n# **Time** {{TIME}}"
    assert slides.aims(page) == ["do this,\n  and more", "do that"]
