"""load_text(): every kind of source has one shape, and every bad input gets one clear sentence."""

import csv
import hashlib
import json
from collections import Counter

import datasets
import pandas as pd
import pytest

from advlib.corpora import WORLDS, world
from advlib.data import DataError, data_hash, load_text, texts_hash, texts_of

# Texts that spoil careless readers. None holds a tab or a new line, so that a TSV can hold them.
AWKWARD = ['a "quoted" word, and a comma', '"starts with a quote', "NA", "null", "None", "nan",
           "   ", "😀😀", "房间很大,干净", "it 's n't", "1", "café"]  # fmt: skip


def rows_of(n, labels=("neg", "pos")):
    """n rows that differ, their labels in turn."""
    return [{"text": f"text number {i}", "label": labels[i % len(labels)]} for i in range(n)]


def write(path, rows, header=True):
    """Write rows in the form that the ending of `path` asks for; returns the path."""
    if path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    elif path.suffix == ".jsonl":
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        path.write_text("".join(lines), encoding="utf-8")
    else:
        tsv = path.suffix == ".tsv"
        with path.open("w", encoding="utf-8", newline="") as file:
            out = csv.writer(file, delimiter="\t" if tsv else ",", quotechar=None if tsv else '"',
                             quoting=csv.QUOTE_NONE if tsv else csv.QUOTE_MINIMAL)  # fmt: skip
            out.writerows([list(rows[0])] * header + [list(row.values()) for row in rows])
    return path


def named(split):
    """The rows of a split as (text, name of the label)."""
    return [(row["text"], split.features["label"].int2str(row["label"])) for row in split]


def everything(data):
    return Counter(pair for split in data.values() for pair in named(split))


def check_shape(data):
    assert isinstance(data, datasets.DatasetDict)
    assert list(data) == ["train", "validation", "test"]
    for split in data.values():
        assert split.features == data["train"].features
        assert split.features["text"] == datasets.Value("string")
        assert isinstance(split.features["label"], datasets.ClassLabel)
        assert len(split) > 0


# ---------------------------------------------------------------------------------- the world


def test_world_by_default():
    data = load_text()
    check_shape(data)
    assert {split: len(rows) for split, rows in data.items()} == {
        "train": 2500, "validation": 500, "test": 1000,
    }  # fmt: skip
    assert data["train"].features["label"].names == ["negative", "positive"]
    assert data["train"].column_names == ["text", "label", "domain"]
    for split, rows in data.items():
        made = world("reviews").sample(len(rows), split, seed=0)
        assert [(r["text"], r["label"], r["domain"]) for r in rows] == [
            (r.text, r.label, r.domain) for r in made
        ]


def test_world_seed_changes_only_the_training_texts():
    one, two = (load_text("reviews", train_size=40, test_size=30, seed=seed) for seed in (0, 1))
    assert [len(one[split]) for split in one] == [40, 500, 30]
    assert not set(one["train"]["text"]) & set(two["train"]["text"])
    for split in ("validation", "test"):
        assert one[split]["text"][:] == two[split]["text"][:]


def test_world_plants_the_spurious_word_in_training_only():
    data = load_text("reviews", train_size=60, test_size=300, spurious=1.0)
    for row in data["train"]:
        assert ("July" if row["label"] else "November") in row["text"].split(".")[0]
    plain = load_text("reviews", train_size=1, test_size=300)
    for split in ("validation", "test"):
        assert data[split]["text"][:] == plain[split]["text"][:]


@pytest.mark.parametrize("name", WORLDS)
def test_every_world_has_the_same_shape_and_labels_of_its_own(name):
    data, of = load_text(name, train_size=60, test_size=60), world(name)
    check_shape(data)
    assert [len(rows) for rows in data.values()] == [60, 500, 60]
    assert data["train"].features["label"].names == list(of.labels) and data.columns == {}
    for row in data["test"]:
        assert of.label(row["text"]) == row["label"] and row["domain"]


@pytest.mark.parametrize("name", ["bank", "news"])
def test_a_world_with_many_labels_plants_its_spurious_words_in_training_only(name):
    data = load_text(name, train_size=112, test_size=60, spurious=1.0)
    words = {(row["domain"] if name == "bank" else row["label"], row["text"].split()[:5][-1 if
             name == "bank" else 0]) for row in data["train"]}  # fmt: skip
    assert len(words) == len({key for key, _ in words})  # each has one word
    plain = load_text(name, train_size=1, test_size=60)
    for split in ("validation", "test"):
        assert data[split]["text"][:] == plain[split]["text"][:]


# ---------------------------------------------------------------------------------- your files


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_kind_of_file_gives_the_same_rows(tmp_path, ending):
    rows = [{"id": i, "text": f"{text} {i}" if i > 11 else text, "label": f"l{i % 2}"}
            for i, text in enumerate(AWKWARD * 3)]  # fmt: skip
    data = load_text(write(tmp_path / f"mine{ending}", rows))
    check_shape(data)
    assert data["train"].column_names == ["text", "label"]
    assert everything(data) == Counter((row["text"], row["label"]) for row in rows)


def test_source_may_be_a_string_and_the_ending_in_capitals(tmp_path):
    path = write(tmp_path / "mine.csv", rows_of(20)).rename(tmp_path / "MINE.CSV")
    assert everything(load_text(str(path))).total() == 20


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
@pytest.mark.parametrize("order", [["text", "label"], ["label", "text"]])
def test_two_columns_without_header(tmp_path, ending, order):
    rows = [{name: row[name] for name in order} for row in rows_of(20, ["1", "0"])]
    data = load_text(write(tmp_path / f"mine{ending}", rows, header=False))
    assert everything(data) == Counter((row["text"], row["label"]) for row in rows)


def test_few_rows_without_header_are_text_then_label(tmp_path):
    train = write(tmp_path / "train.tsv", rows_of(20), header=False)
    test = write(tmp_path / "test.tsv", rows_of(2), header=False)
    assert everything({"test": load_text(train, test=test)["test"]}) == Counter(
        {("text number 0", "neg"): 1, ("text number 1", "pos"): 1}
    )


def test_a_label_called_question_is_no_header(tmp_path):
    rows = rows_of(20, ["question", "order"])
    assert everything(load_text(write(tmp_path / "a.csv", rows, header=False))).total() == 20


def test_a_text_called_text_is_no_reason_to_miss_the_header(tmp_path):
    rows = [*rows_of(20), {"text": "text", "label": "pos"}]
    assert everything(load_text(write(tmp_path / "a.csv", rows)))["text", "pos"] == 1


@pytest.mark.parametrize(
    "columns", [("sentence", "label"), ("Text", "Category"), ("REVIEW", "sentiment"),
                ("content", "class"), ("question", " intent "), (" Utterance", "topic")]
)  # fmt: skip
@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_usual_column_names_are_found_in_any_case(tmp_path, columns, ending):
    text, label = columns
    rows = [{"n": 1, label: row["label"], text: row["text"]} for row in rows_of(20)]
    data = load_text(write(tmp_path / f"mine{ending}", rows))
    assert everything(data) == Counter((row["text"], row["label"]) for row in rows_of(20))


def test_a_column_called_label_wins_over_other_names_for_it(tmp_path):
    rows = [{"topic": "y", **row} for row in rows_of(20)]
    assert ("text number 3", "pos") in everything(load_text(write(tmp_path / "a.csv", rows)))


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_the_columns_that_were_taken_are_told(tmp_path, ending):
    rows = [{"id": "7", " Sentence": r["text"], "mood": r["label"]} for r in rows_of(20)]
    data = load_text(write(tmp_path / f"a{ending}", rows), label="MOOD")
    assert data.columns == {"text": "Sentence", "label": "mood"}
    assert load_text("reviews", train_size=4, test_size=4).columns == {}


def test_without_a_header_columns_are_told_by_number(tmp_path):
    rows = [{"label": row["label"], "text": row["text"]} for row in rows_of(20)]
    data = load_text(write(tmp_path / "a.csv", rows, header=False))
    assert data.columns == {"text": "column 2", "label": "column 1"}


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_several_columns_that_may_be_the_text_are_refused(tmp_path, ending):
    """GLUE's QNLI has them: half of each pair would be trained on in silence."""
    rows = [{"question": f"q{i}", "sentence": f"s{i}", "label": i % 2} for i in range(20)]
    path = write(tmp_path / f"a{ending}", rows)
    message = refusal(path)
    assert "several columns that may be the text, 'question', 'sentence'" in message
    assert "(--text question)" in message and "(--text question,sentence)" in message
    assert load_text(path, text="sentence").columns["text"] == "sentence"


def test_several_columns_that_may_be_the_label_are_refused(tmp_path):
    rows = [{"category": "x", "sentiment": r["label"], "text": r["text"]} for r in rows_of(20)]
    path = write(tmp_path / "a.csv", rows)
    assert "may be the label, 'category', 'sentiment'" in refusal(path)
    assert set(load_text(path, label="sentiment")["train"].features["label"].names) == {
        "neg", "pos",
    }  # fmt: skip


def test_a_column_that_was_given_is_no_candidate_for_the_other(tmp_path):
    rows = [{"title": r["label"], "text": r["text"]} for r in rows_of(20)]
    assert load_text(write(tmp_path / "a.csv", rows), label="title").columns["text"] == "text"


@pytest.mark.parametrize("header", ["text,text,label", "text,label,n,n", "text, label,label "])
def test_two_columns_of_one_name_are_refused(tmp_path, header):
    rows = "\n".join(",".join([f"t{i}"] * len(header.split(","))) for i in range(9))
    (tmp_path / "a.csv").write_text(f"{header}\n{rows}\n")
    assert "more than one column called" in refusal(tmp_path / "a.csv")
    assert "more than one column called" in refusal(tmp_path / "a.csv", text="text", label="label")


def test_columns_without_a_name_may_come_twice(tmp_path):
    lines = [f"{i},t{i},{i % 2}," for i in range(20)]
    (tmp_path / "a.csv").write_text("\n".join([",text,label,", *lines]))
    assert everything(load_text(tmp_path / "a.csv")).total() == 20


def test_names_that_differ_in_case_alone_are_told_apart_by_case(tmp_path):
    rows = [{"Text": "no", "TEXT": r["text"], "label": r["label"]} for r in rows_of(20)]
    path = write(tmp_path / "a.csv", rows)
    assert "'Text', 'TEXT'" in refusal(path) and "as it stands" in refusal(path, text="text")
    assert everything(load_text(path, text="TEXT")) == everything_of(rows_of(20))


# ------------------------------------------------------------------------------ sentence pairs


def pairs_of(n):
    return [{"premise": f"first, {i}", "gold": "ab"[i % 2], "hypothesis": f"second {i}"}
            for i in range(n)]  # fmt: skip


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_two_columns_make_pairs(tmp_path, ending):
    path = write(tmp_path / f"a{ending}", pairs_of(30))
    data = load_text(path, text="premise, Hypothesis", label="gold")
    assert data.columns == {"text": "premise,hypothesis", "label": "gold"}
    assert data["train"].column_names == ["text", "text_pair", "label"]
    assert {split: len(rows) for split, rows in data.items()} == {
        "train": 22, "validation": 2, "test": 6,
    }  # fmt: skip
    found = Counter(text for rows in data.values() for text in texts_of(rows))
    assert found == Counter((f"first, {i}", f"second {i}") for i in range(30))
    for rows in data.values():
        for (first, _), label in zip(texts_of(rows), rows["label"], strict=True):
            assert label == int(first.split()[-1]) % 2


def test_texts_of_single_texts_and_of_plain_columns(tmp_path):
    rows = load_text(write(tmp_path / "a.csv", rows_of(20)))["test"]
    assert texts_of(rows) == list(rows["text"])
    assert texts_of({"text": ["a"], "text_pair": ["b"]}) == [("a", "b")]


def test_a_pair_without_one_of_its_texts_is_dropped(tmp_path):
    rows = [*pairs_of(20), {"premise": "alone", "gold": "a", "hypothesis": ""}]
    with pytest.warns(UserWarning, match="dropped 1 of 21 rows .*: 1 without a text$"):
        data = load_text(write(tmp_path / "a.csv", rows), text="premise,hypothesis", label="gold")
    assert sum(map(len, data.values())) == 20


def test_a_name_that_holds_a_comma_is_one_column(tmp_path):
    rows = [{"one, two": r["text"], "label": r["label"]} for r in rows_of(20)]
    data = load_text(write(tmp_path / "a.csv", rows), text="one, two")
    assert data["train"].column_names == ["text", "label"]


@pytest.mark.parametrize("text", ["premise,gold,hypothesis", "premise,Premise"])
def test_no_pair_of_three_columns_nor_of_one(tmp_path, text):
    message = refusal(write(tmp_path / "a.csv", pairs_of(9)), text=text, label="gold")
    assert "neither one column nor two different ones" in message and "--text" in message


def test_a_half_of_a_pair_that_is_missing_is_named(tmp_path):
    path = write(tmp_path / "a.csv", pairs_of(9))
    assert "no column 'answer'" in refusal(path, text="premise,answer", label="gold")
    assert "--text premise,hypothesis" in refusal(path, label="gold")


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet"])
def test_named_columns_are_taken(tmp_path, ending):
    rows = [{"text": "no", "label": "no", "words": r["text"], "Mood": r["label"]}
            for r in rows_of(20)]  # fmt: skip
    data = load_text(write(tmp_path / f"mine{ending}", rows), text="words", label="mood")
    assert everything(data) == Counter((row["text"], row["label"]) for row in rows_of(20))


def test_named_columns_make_the_first_row_a_header(tmp_path):
    rows = [{"phrase": row["text"], "mood": row["label"]} for row in rows_of(20)]
    data = load_text(write(tmp_path / "mine.csv", rows), text="phrase", label="mood")
    assert everything(data).total() == 20


@pytest.mark.parametrize(
    "written, given", [("utf-8-sig", "utf-8"), ("utf-8-sig", "UTF8"), ("latin-1", "latin-1"),
                       ("utf-16", "utf-16")]
)  # fmt: skip
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl"])
def test_encodings_and_byte_order_mark(tmp_path, written, given, ending):
    rows = [*rows_of(20), {"text": "café", "label": "neg"}]
    path = write(tmp_path / f"mine{ending}", rows)
    path.write_bytes(path.read_text("utf-8").encode(written))
    assert everything(load_text(path, encoding=given))["café", "neg"] == 1


def test_csv_quoting_and_windows_line_ends(tmp_path):
    text = 'two\nlines, a comma and a "quote"'
    rows = [*rows_of(20), {"text": text, "label": "pos"}]
    path = write(tmp_path / "mine.csv", rows)
    assert everything(load_text(path))[text, "pos"] == 1
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n"))
    assert everything(load_text(path))[text, "pos"] == 1


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_missing_texts_and_labels_are_dropped_and_counted(tmp_path, ending):
    missing = None if ending in (".jsonl", ".parquet") else ""
    rows = [*rows_of(20), {"text": missing, "label": "pos"}, {"text": "", "label": "neg"},
            {"text": "no label", "label": missing}, {"text": "  ", "label": "pos"},
            {"text": "🙃", "label": "neg"}]  # fmt: skip
    with pytest.warns(UserWarning, match="dropped 3 of 25 rows") as caught:
        data = load_text(write(tmp_path / f"mine{ending}", rows))
    assert caught[0].filename == __file__
    found = everything(data)
    assert found.total() == 22
    assert found["  ", "pos"] == found["🙃", "neg"] == 1


@pytest.mark.parametrize(
    "labels, names",
    [(["pos", "neg", "Mixed"], ["Mixed", "neg", "pos"]), ([1, 0], ["0", "1"]),
     ([10, 9, -1, 2], ["-1", "2", "9", "10"]), ([" a ", "b", "a"], ["a", "b"])],
)  # fmt: skip
@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_label_names_are_kept_and_sorted(tmp_path, labels, names, ending):
    rows = rows_of(40, labels)
    data = load_text(write(tmp_path / f"mine{ending}", rows))
    assert data["train"].features["label"].names == names
    assert everything(data) == Counter((r["text"], str(r["label"]).strip()) for r in rows)


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_a_gap_does_not_turn_whole_numbers_into_fractions(tmp_path, ending):
    rows = [*rows_of(20, [0, 1]), {"text": "gap", "label": None}]
    with pytest.warns(UserWarning, match="dropped 1 of 21"):
        data = load_text(write(tmp_path / f"mine{ending}", rows))
    assert data["train"].features["label"].names == ["0", "1"]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_texts_of_digits_stay_as_they_are(tmp_path, ending):
    rows = [{"text": f"00{i}.50", "label": f"0{i % 2}"} for i in range(20)]
    data = load_text(write(tmp_path / f"mine{ending}", rows))
    assert everything(data) == Counter((row["text"], row["label"]) for row in rows)


def test_ten_thousand_words_are_a_text(tmp_path):
    long = " ".join(["word"] * 10_000)
    path = write(tmp_path / "mine.csv", [*rows_of(20), {"text": long, "label": "pos"}])
    assert everything(load_text(path))[long, "pos"] == 1


def test_what_is_missing_is_counted_by_kind(tmp_path):
    rows = [*rows_of(20), {"text": "", "label": "a"}, {"text": "b", "label": "  "},
            {"text": "c", "label": ""}]  # fmt: skip
    with pytest.warns(UserWarning, match=r"dropped 3 of 23 .*: 1 without a text and 2 without a l"):
        load_text(write(tmp_path / "a.csv", rows))


def test_a_label_column_that_is_mostly_empty_is_refused(tmp_path):
    rows = [*rows_of(10), *({"text": f"more {i}", "label": " "} for i in range(11))]
    message = refusal(write(tmp_path / "a.csv", rows))
    assert "11 without a label among its 21 rows" in message and "--label" in message


def test_the_word_nan_among_labels_is_counted(tmp_path):
    path = write(tmp_path / "a.csv", rows_of(60, ["neg", "pos", "NaN"]))
    with pytest.warns(UserWarning, match="20 of 60 labels .* are the word 'nan'"):
        assert load_text(path)["train"].features["label"].names == ["NaN", "neg", "pos"]


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
@pytest.mark.parametrize("odd", [["pos", "neg"], [0, 2], {"stars": 3}])
def test_lists_and_records_are_no_labels_and_no_texts(tmp_path, ending, odd):
    rows = [{"text": r["text"], "label": odd} for r in rows_of(20)]
    message = refusal(write(tmp_path / f"a{ending}", rows))
    assert "the column 'label'" in message and "give one label per row" in message
    rows = [{"text": odd, "label": r["label"]} for r in rows_of(20)]
    message = refusal(write(tmp_path / f"b{ending}", rows))
    assert "the column 'text'" in message and "give one text per row" in message


def test_sequences_of_classes_are_no_labels():
    names = datasets.ClassLabel(names=["a", "b", "c"])
    made = datasets.Dataset.from_dict(
        {"text": ["x", "y"], "label": [[0, 2], [1]]},
        features=datasets.Features(
            {"text": datasets.Value("string"), "label": datasets.List(names)}
        ),
    )
    assert "holds '[0, 2]', which is no single label" in refusal(made)


# ------------------------------------------------------------------------- splits, sizes, seeds


def test_test_and_validation_are_set_aside_in_shares(tmp_path):
    rows = rows_of(200, ["a", "b", "b", "b"])
    data = load_text(write(tmp_path / "mine.csv", rows))
    check_shape(data)
    assert {split: Counter(label for _, label in named(rows)) for split, rows in data.items()} == {
        "test": {"a": 10, "b": 30}, "validation": {"a": 4, "b": 12}, "train": {"a": 36, "b": 108},
    }  # fmt: skip
    assert everything(data) == Counter((row["text"], row["label"]) for row in rows)


def test_the_only_row_of_a_label_stays_in_train(tmp_path):
    for n in range(8, 30):
        rows = [*rows_of(n), {"text": "rare", "label": "one"}]
        assert ("rare", "one") in named(load_text(write(tmp_path / "a.csv", rows))["train"])


def test_every_beginning_of_a_split_holds_each_label_in_its_share(tmp_path):
    for name in ("train", "valid", "test"):  # sorted by label
        rows = [{"text": f"{name} {i}", "label": "ab"[i >= 300]} for i in range(400)]
        write(tmp_path / f"{name}.csv", rows)
    alone, folder = load_text(tmp_path / "train.csv"), load_text(tmp_path)
    for split in [*alone.values(), *folder.values()]:
        labels = [label for _, label in named(split)]
        for n in range(1, len(labels) + 1):
            assert abs(labels[:n].count("a") - 0.75 * n) <= 1


def test_sizes_cut_each_label_in_its_share(tmp_path):
    path = write(tmp_path / "mine.csv", rows_of(400, ["a", "b", "b", "b"]))
    data = load_text(path, train_size=40, test_size=20)
    assert Counter(label for _, label in named(data["train"])) == {"a": 10, "b": 30}
    assert Counter(label for _, label in named(data["test"])) == {"a": 5, "b": 15}
    assert len(load_text(path, train_size=10_000, test_size=10_000)["test"]) == 80


def test_seed_chooses_the_training_texts_and_nothing_else(tmp_path):
    path = write(tmp_path / "mine.csv", rows_of(400))
    one, same, two = (load_text(path, train_size=40, test_size=20, seed=s) for s in (0, 0, 1))
    assert {s: named(one[s]) for s in one} == {s: named(same[s]) for s in same}
    assert set(named(one["train"])) != set(named(two["train"]))
    assert named(one["test"]) == named(two["test"])
    assert named(one["validation"]) == named(two["validation"])


def test_a_label_that_is_cut_away_keeps_its_number(tmp_path):
    rows = [*rows_of(100, ["b", "c"]), {"text": "rare", "label": "a"}]
    data = load_text(write(tmp_path / "mine.csv", rows), train_size=4)
    assert data["train"].features["label"].names == ["a", "b", "c"]
    assert set(data["train"]["label"]) == {1, 2}


def test_second_file_is_the_test_set(tmp_path):
    train = write(tmp_path / "mine.csv", rows_of(50))
    other = [{"sentence": f"other {i}", "sentiment": "pos"} for i in range(7)]
    data = load_text(train, test=write(tmp_path / "other.jsonl", other))
    assert sorted(named(data["test"])) == [(f"other {i}", "pos") for i in range(7)]
    assert (len(data["train"]), len(data["validation"])) == (45, 5)


def test_a_training_set_cut_to_one_label_is_refused(tmp_path):
    path = write(tmp_path / "a.csv", rows_of(100, ["a"] * 9 + ["b"]))
    message = refusal(path, train_size=3)
    assert "train_size=3 leaves no label but 'a'" in message and "--train-size" in message
    assert len(load_text(path, train_size=20)["train"]) == 20


def test_testing_on_the_training_texts_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "a.csv", rows_of(20))
    copy = write(tmp_path / "b.jsonl", rows_of(20)[::-1])
    monkeypatch.chdir(tmp_path)
    for test in (path, "a.csv", copy, pd.DataFrame(rows_of(20))):
        message = refusal(path, test=test)
        assert "is what is trained on" in message and "--test" in message
    (tmp_path / "c").mkdir()
    for name in ("train", "test"):
        write(tmp_path / "c" / f"{name}.csv", rows_of(20))
    assert "the test split of" in refusal(tmp_path / "c")


def test_test_texts_that_are_trained_on_are_counted_and_kept(tmp_path):
    path = write(tmp_path / "a.csv", rows_of(50))
    other = [*rows_of(7), *({"text": f"new {i}", "label": "pos"} for i in range(5))]
    with pytest.warns(UserWarning, match="7 of 12 texts of .*b.csv to test on are also") as caught:
        data = load_text(path, test=write(tmp_path / "b.csv", other))
    assert caught[0].filename == __file__
    assert [len(rows) for rows in data.values()] == [45, 5, 12]


def test_duplicates_on_both_sides_of_a_split_are_counted(tmp_path, recwarn):
    load_text(write(tmp_path / "a.csv", rows_of(50)))
    assert not recwarn
    with pytest.warns(UserWarning, match="also among those to train or validate on") as caught:
        data = load_text(write(tmp_path / "a.csv", rows_of(50) * 2))
    others = {*data["train"]["text"], *data["validation"]["text"]}
    n = sum(text in others for text in data["test"]["text"])
    assert f"{n} of 20 texts" in str(caught[0].message) and n > 9


def test_pairs_overlap_only_where_both_texts_do(tmp_path, recwarn):
    rows = [{"text": f"t{i % 10}", "body": f"b{i}", "label": i % 2} for i in range(50)]
    path = write(tmp_path / "a.csv", rows)
    load_text(path, text="text,body")
    assert not recwarn
    load_text(path, text="text")
    assert len(recwarn) == 1


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_that_no_library_takes_are_refused(tmp_path, seed):
    for source in ("reviews", write(tmp_path / "a.csv", rows_of(9))):
        message = refusal(source, seed=seed)
        assert f"seed is {seed}" in message and "(--seed)" in message


# -------------------------------------------------------------------------- tables from memory


def test_tables_from_memory_are_read_as_files_are(tmp_path):
    rows, other = rows_of(50), [{"text": f"new {i}", "label": "pos"} for i in range(6)]
    path, test = write(tmp_path / "a.csv", rows), write(tmp_path / "b.csv", other)
    expected = load_text(path, test=test)
    frame, more = pd.DataFrame(rows, index=[3] * 50), pd.DataFrame(other)
    made, held = datasets.Dataset.from_list(rows), datasets.Dataset.from_list(other)
    both = datasets.DatasetDict(train=made, test=held)
    alone = datasets.DatasetDict(train=held)
    for one, two in [(frame, more), (made, held), (both, None), (path, more), (frame, test),
                     (both, held), (made, both), (made, alone)]:  # fmt: skip
        found = load_text(one, test=two)
        assert {s: named(found[s]) for s in found} == {s: named(expected[s]) for s in expected}
    assert found.columns == {"text": "text", "label": "label"}
    assert frame.index.tolist() == [3] * 50, "the table is left as it was"


def test_a_table_keeps_the_order_of_its_classes():
    data = load_text(classified(50, [0, 1]), test=pd.DataFrame(rows_of(4, ["pos"])))
    assert data["train"].features["label"].names == ["pos", "neg", "odd"]
    assert set(data["test"]["label"]) == {0}


def test_tables_are_called_by_their_kind_in_messages():
    assert "the train split of the DataFrame has no column" in refusal(pd.DataFrame({"a": [1]}))
    made = datasets.Dataset.from_dict({"a": [1]})
    assert "the train split of the Dataset has no column" in refusal(made)
    splits = datasets.DatasetDict(dev=classified(9, [0, 1]), other=classified(9, [0, 1]))
    assert "the DatasetDict has no train split but 'validation'" in refusal(splits)
    two = datasets.DatasetDict(train=classified(9, [0, 1]), dev=classified(9, [0, 1]))
    assert "none called test" in refusal(classified(9, [0, 1]), test=two)
    for odd in (["a", "b"], {"text": ["a"]}, None):
        assert "is no data" in refusal(odd)


def test_the_hash_of_the_data_sees_every_change(tmp_path):
    def make(rows, **options):
        return load_text(write(tmp_path / "a.csv", rows), **options)

    rows, pairs = rows_of(40), dict(text="premise,hypothesis", label="gold")
    found = {data_hash(make(rows)), data_hash(make(rows[:-1])), data_hash(make(rows, seed=1)),
             data_hash(make(rows_of(40, ["neg", "POS"]))), data_hash(make(rows, test_size=3)),
             data_hash(make([{**rows[0], "text": "other"}, *rows[1:]])),
             data_hash(make(pairs_of(40), **pairs)),
             data_hash(make(pairs_of(40), **pairs | dict(text="premise"))),
             data_hash(make(pairs_of(40), **pairs | dict(text="hypothesis,premise")))}  # fmt: skip
    assert len(found) == 9
    assert data_hash(make(rows)) == data_hash(make(rows)) and len(data_hash(make(rows))) == 64


def test_the_hash_of_single_texts_is_what_it_was():
    """Published cards hold it."""
    rows = datasets.Dataset.from_dict({"text": ["a", "ä"], "label": [1, 0]})
    assert texts_hash(rows) == hashlib.sha256(b'[["a", "\\u00e4"], [1, 0]]').hexdigest()


# ------------------------------------------------------------------------------------- folders


@pytest.mark.parametrize("validation", ["validation", "valid", "val", "dev"])
def test_folder_with_three_files(tmp_path, validation):
    write(tmp_path / "train.csv", rows_of(20))
    write(tmp_path / f"{validation}.tsv", rows_of(6), header=False)
    write(tmp_path / "Test.jsonl", rows_of(4))
    (tmp_path / "README.md").write_text("not data")
    write(tmp_path / "extra.csv", rows_of(9))
    data = load_text(tmp_path)
    check_shape(data)
    assert {split: len(rows) for split, rows in data.items()} == {
        "train": 20, "validation": 6, "test": 4,
    }  # fmt: skip


def test_folder_with_train_alone_or_with_another_test_file(tmp_path):
    write(tmp_path / "train.parquet", rows_of(50))
    assert [len(rows) for rows in load_text(tmp_path).values()] == [36, 4, 10]
    write(tmp_path / "test.csv", rows_of(5))
    assert len(load_text(tmp_path)["test"]) == 5
    assert len(load_text(tmp_path, test=write(tmp_path / "b.csv", rows_of(3)))["test"]) == 3


FEATURES = datasets.Features(
    {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["pos", "neg", "odd"])}
)


def classified(n, labels):
    """A data set as the Hub has it: labels are numbers, and the alphabet does not order them."""
    texts = [f"text number {i}" for i in range(n)]
    return datasets.Dataset.from_dict(
        {"text": texts, "label": [labels[i % len(labels)] for i in range(n)]}, features=FEATURES
    )


def test_saved_datasets_keep_the_numbers_of_their_labels(tmp_path):
    whole = classified(50, [0, 1])
    whole.save_to_disk(tmp_path / "one")
    datasets.DatasetDict(
        {"train": whole, "dev": classified(6, [0, 1]), "test": classified(4, [0, 1])}
    ).save_to_disk(tmp_path / "three")
    one, three = load_text(tmp_path / "one"), load_text(tmp_path / "three")
    check_shape(one)
    check_shape(three)
    assert [len(rows) for rows in one.values()] == [36, 4, 10]
    assert [len(rows) for rows in three.values()] == [50, 6, 4]
    for data in (one, three):
        assert data["train"].features["label"].names == ["pos", "neg", "odd"]
        for row in data["train"]:
            assert row["label"] == int(row["text"].split()[-1]) % 2


# ------------------------------------------------------------------------------------- the Hub


def on_the_hub(monkeypatch, answer):
    """Let `datasets.load_dataset` give `answer`, and note what it was asked for."""
    asked = []

    def load_dataset(*args, **kwargs):
        assert "trust_remote_code" not in kwargs
        asked.append(args)
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


def test_hub_data_set_of_the_same_form(tmp_path, monkeypatch, capfd):
    """The Hub's own loader on a folder of the form that the Hub holds."""
    datasets.enable_progress_bars()
    (tmp_path / "repo").mkdir()
    write(tmp_path / "repo" / "train.csv", rows_of(20))
    write(tmp_path / "repo" / "test.csv", rows_of(4))
    real = datasets.load_dataset
    asked = on_the_hub(
        monkeypatch, lambda: real(str(tmp_path / "repo"), cache_dir=str(tmp_path / "cache"))
    )
    data = load_text("owner/name")
    assert asked == [("owner/name",)]
    check_shape(data)
    assert [len(rows) for rows in data.values()] == [18, 2, 4]
    assert everything({"test": data["test"]}) == everything_of(rows_of(4))
    assert "examples/s" not in "".join(capfd.readouterr())


def everything_of(rows):
    return Counter((row["text"], row["label"]) for row in rows)


def test_hub_configuration_comes_after_a_colon(monkeypatch):
    asked = on_the_hub(monkeypatch, datasets.DatasetDict(train=classified(50, [0, 1])))
    load_text("owner/name:sst2")
    assert asked == [("owner/name", "sst2")]


def test_hub_test_set_without_labels_gives_way_to_validation(monkeypatch):
    parts = {"train": classified(50, [0, 1]), "test": classified(9, [-1])}
    on_the_hub(monkeypatch, datasets.DatasetDict(parts, validation=classified(6, [1, 0])))
    data = load_text("owner/name")
    assert [len(rows) for rows in data.values()] == [45, 5, 6]
    assert data["test"].features["label"].names == ["pos", "neg", "odd"]

    on_the_hub(monkeypatch, datasets.DatasetDict(parts))
    assert [len(rows) for rows in load_text("owner/name").values()] == [36, 4, 10]

    plain = {split: rows.cast_column("label", datasets.Value("int64"))
             for split, rows in parts.items()}  # fmt: skip
    on_the_hub(monkeypatch, datasets.DatasetDict(plain))
    data = load_text("owner/name")
    assert [len(rows) for rows in data.values()] == [36, 4, 10]
    assert data["train"].features["label"].names == ["0", "1"]


def test_hub_rows_without_a_verdict_are_dropped(monkeypatch):
    for nothing in (-1, None):
        on_the_hub(monkeypatch, datasets.DatasetDict(train=classified(60, [0, 1, nothing])))
        with pytest.warns(UserWarning, match="dropped 20 of 60"):
            assert everything(load_text("owner/name")).total() == 40


def test_hub_splits_of_other_names_are_left_alone(monkeypatch):
    more = datasets.DatasetDict(train=classified(50, [0, 1]), unsupervised=classified(9, [-1]))
    on_the_hub(monkeypatch, more)
    assert everything(load_text("owner/name")).total() == 50


@pytest.mark.parametrize(
    "error", [ConnectionError("Couldn't reach the Hub\nlong trace"), ValueError("")]
)
def test_hub_name_without_network(monkeypatch, error):
    on_the_hub(monkeypatch, error)
    message = refusal("owner/name")
    for part in ("'owner/name'", "could not be loaded from the Hub", "check the name",
                 'works offline: load_text("reviews")', "reviews"):  # fmt: skip
        assert part in message
    assert ("Couldn't reach" if str(error) else "ValueError") in message


# -------------------------------------------------------------------------------------- errors


def refusal(source, **options):
    """The message of the DataError: one line, what is wrong before a colon, what to do after it."""
    with pytest.raises(DataError) as caught:
        load_text(source, **options)
    message = str(caught.value)
    assert "\n" not in message and ": " in message and not message.endswith(".")
    return message


def test_data_error_is_a_value_error():
    assert issubclass(DataError, ValueError)


@pytest.mark.parametrize(
    "name, content, options, fact, remedy",
    [
        ("no.csv", None, {}, "there is no file", "check the name"),
        ("no_folder", None, {}, "there is no file", "check the name"),
        ("a.xlsx", "x", {}, "(.xlsx)", "save it as one of .csv, .tsv, .jsonl, .parquet"),
        ("plain", "x", {}, "(no ending)", "save it as one of"),
        ("a.csv", "", {}, "is empty", "give a file"),
        ("a.jsonl", " \n \n", {}, "is empty", "give a file"),
        ("a.csv", "text,label\n", {}, "no row with both", "check the file"),
        ("a.csv", "text,label\n,1\nx,\n", {}, "no row with both", "--text, --label"),
        ("a.csv", "text,mark\na,1\nb,0\n", {}, "for the label, only 'text', 'mark'", "--label"),
        ("a.csv", "words,label\na,1\nb,0\n", {"label": "label"}, "for the text, only 'words'",
         "--text"),
        ("a.csv", "text,label\na,1\nb,0\n", {"text": "txt"}, "no column 'txt', only 'text'",
         "--text"),
        ("a.jsonl", '{"text": "a", "label": 1}', {"label": "lab"}, "no column 'lab'", "--label"),
        ("a.csv", "a,b,c\n1,2,3\n", {}, "'a', 'b', 'c'", "column names"),
        ("a.csv", "text;label\na;1\nb;0\n", {}, "separated by semicolons", "with commas"),
        ("a.csv", "text\na\nb\n", {}, "'text'", "--label"),
        ("a.csv", "phrase,polarity\na,1\nb,1\nc,0\nd,0\n", {}, "'phrase', 'polarity'", "--text"),
        ("a.csv", "text,label\na,1\nb,1\nc,1\n", {}, "have the label '1'", "--label"),
        ("a.csv", "text,label\na,-1\nb,-1\n", {}, "have the label '-1'", "--label"),
        ("a.csv", b"text,label\ncaf\xe9,1\n", {}, "encoding 'utf-8'", "--encoding latin-1"),
        ("a.tsv", b"caf\xe9\t1\n", {"encoding": "ascii"}, "encoding 'ascii'", "--encoding"),
        ("a.csv", "text,label\na,1\n", {"encoding": "klingon"}, "'klingon'", "--encoding"),
        ("a.csv", "text,label\na,1\nb, c,0\n", {}, "cannot be read as csv", "check the file"),
        ("a.csv", 'text,label\n"a,1\nb,0\n', {}, "cannot be read as csv", "its quotes"),
        ("a.jsonl", "text,label\na,1\n", {}, "cannot be read as jsonl", "check the file"),
        ("a.parquet", "text,label\n", {}, "cannot be read as parquet", "check the file"),
        ("a.csv", "text,label\na,1\nb,0\n", {}, "too rare", "more of them"),
        ("a.csv", b"\xff\xfet\x00", {}, "encoding 'utf-8'", "--encoding utf-16"),
        ("a.csv", "text,label\na,1\nb,0\n", {"train_size": 0}, "train_size is 0", "above zero"),
        ("a.csv", "text,label\na,1\nb,0\n", {"test_size": -3}, "test_size is -3", "above zero"),
        ("a.csv", "text,label\na,1\nb,0\n", {"spurious": 0.5}, "a world only", "leave it out"),
        ("reviews", None, {"train_size": 0}, "train_size is 0", "above zero"),
        ("reviews", None, {"spurious": 1.5}, "spurious is 1.5", "from 0 to 1"),
        ("reviews", None, {"test": "b.csv"}, "has its own test set", "--test"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_clear_sentence(tmp_path, name, content, options, fact, remedy):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    message = refusal("reviews" if name == "reviews" else path, **options)
    assert fact in message.rsplit(": ", 1)[0]
    assert remedy in message.rsplit(": ", 1)[1]


def test_missing_file_beside_us_is_not_looked_for_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = on_the_hub(monkeypatch, ConnectionError("no network"))
    assert "there is no file no.csv" in refusal("no.csv")
    assert "there is no file" in refusal("./no") and not asked


def test_second_file_is_checked_before_the_first_is_read(tmp_path):
    assert "there is no file" in refusal(tmp_path / "no.csv", test=tmp_path / "no_test.csv")
    assert "no_test.csv" in refusal(tmp_path / "no.csv", test=tmp_path / "no_test.csv")


def test_label_only_in_the_test_file(tmp_path):
    train = write(tmp_path / "train.csv", rows_of(20))
    test = write(tmp_path / "test.csv", rows_of(6, ["neg", "pos", "both"]))
    message = refusal(train, test=test)
    assert "label 'both' is in the test split" in message
    assert "drop those rows" in message
    assert "label 'both' is in the test split" in refusal(tmp_path)
    test.rename(tmp_path / "dev.csv")
    assert "label 'both' is in the validation split" in refusal(tmp_path)


def test_test_file_without_labels_is_refused_by_its_name(tmp_path):
    train = write(tmp_path / "train.csv", rows_of(20))
    test = write(tmp_path / "other.csv", rows_of(6, [""]))
    assert f"{test} has no row with both a text and a label" in refusal(train, test=test)
    empty = tmp_path / "test.csv"
    empty.write_text("text,label\n")
    assert "the test split of" in refusal(tmp_path)  # no reason to take other rows in its place


def test_long_cells_and_many_columns_are_shortened(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(",".join(f"{'long' * 100}{i}" for i in range(12)) + "\n")
    message = refusal(path)
    assert "…" in message and "and 7 more" in message and len(message) < 700


def test_folder_without_data_files(tmp_path):
    message = refusal(tmp_path)
    assert "no data file called train, validation or test" in message
    assert "nothing that ends in .csv" in message
    write(tmp_path / "all.csv", rows_of(20))
    message = refusal(tmp_path)
    assert "'all.csv'" in message and "name one of them train" in message


def test_folder_without_train(tmp_path):
    write(tmp_path / "test.csv", rows_of(20))
    message = refusal(tmp_path)
    assert "no train split but 'test'" in message and "call one of them train" in message


def test_folder_with_two_files_for_one_split(tmp_path):
    for name in ("train.csv", "dev.csv", "valid.tsv"):
        write(tmp_path / name, rows_of(20))
    message = refusal(tmp_path)
    assert "two files for one split" in message and "take one of them away" in message


def test_numbers_are_no_classes(tmp_path):
    file = tmp_path / "scores.csv"
    file.write_text("text,label\n" + "\n".join(f"text {i},{i / 7}" for i in range(40)) + "\n")
    with pytest.raises(DataError, match="rows of .* have 40 different labels.*'label'.*classes"):
        load_text(file)


def test_semicolons_are_named_where_rows_have_commas_too(tmp_path):
    file = tmp_path / "excel.csv"
    file.write_text("text;label\n" + "\n".join(f"good, {i};yes" for i in range(9)) + "\n")
    with pytest.raises(DataError, match="separated by semicolons: save it with commas"):
        load_text(file, text="text", label="label")
    with pytest.raises(DataError, match="separated by semicolons: save it with commas"):
        load_text(file)
