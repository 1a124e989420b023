"""Labelled text from any source in one shape: an embedded world, a file, a table, the Hub."""

from __future__ import annotations

import codecs
import csv
import hashlib
import json
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from io import StringIO
from os import PathLike
from pathlib import Path

import datasets
import numpy as np
import pandas as pd

from advlib.corpora import WORLDS, world
from advlib.corpora.engine import Text
from advlib.hub import no_waiting

# Column names that speak for themselves, the likeliest first; looked for in any case.
TEXT = ("text", "sentence", "review", "content", "question", "utterance", "query", "message",
        "comment", "tweet", "headline", "title", "document", "body")  # fmt: skip
LABEL = ("label", "labels", "category", "sentiment", "class", "intent", "target", "polarity",
         "topic", "emotion")  # fmt: skip
SPLITS = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation",
          "dev": "validation", "test": "test"}  # fmt: skip
ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")
# What a missing label looks like once it was written out as a word.
WRITTEN_NAN = ("nan", "<na>")
Source = str | PathLike | pd.DataFrame | datasets.Dataset | datasets.DatasetDict


class DataError(ValueError):
    """The data cannot be used; the message says in one sentence what is wrong and what to do."""


class Splits(datasets.DatasetDict):
    """What `load_text` returns. columns: which of the source's columns became the text and which
    the label, as the options name them: {"text": "premise,hypothesis", "label": "gold"}. Empty for
    a world."""

    columns: Mapping[str, str] = {}


def load_text(
    source: Source = "reviews", *, test: Source | None = None,
    text: str | None = None, label: str | None = None, encoding: str = "utf-8",
    train_size: int | None = None, test_size: int | None = None, seed: int = 0,
    spurious: float = 0.0, groups: str | None = None,
) -> Splits:  # fmt: skip
    """Splits train, validation and test with columns `text` (string) and `label` (ClassLabel);
    sentence pairs have `text_pair` between the two. `texts_of` reads both kinds.

    source: a world of `advlib.corpora.WORLDS` (its texts have a third column, `domain`); a file
        (.csv, .tsv, .jsonl, .parquet); a folder with train, validation (or dev, valid, val) and
        test files, or one that `save_to_disk` wrote; a data set on the Hub ("name" or
        "name:configuration"); a pandas DataFrame, a `datasets.Dataset` or a DatasetDict.
    test: a second file or table to test on. Without a test set, 20 % of the rows are set aside;
        without a validation set, 10 % of the training rows.
    text, label: the columns, where their names do not speak for themselves, or where more than one
        does. Two names, text="premise,hypothesis", make sentence pairs.
    encoding: of text files; a byte order mark is no trouble.
    train_size, test_size: at most so many texts, each label in its share. A world makes exactly
        so many (otherwise 2,500 and 1,000); its validation split always has 500.
    seed: chooses and orders the training texts. Validation and test stay the same, so that runs
        with different seeds are measured on the same texts.
    spurious: a world's dial for a feature that goes with the label in training only.
    groups: a further column of the texts to test on, kept as `group` (string; empty where it is
        missing). A world has `domain` alone.

    Labels keep their names: a ClassLabel's in its own order, numbers by size, others by alphabet.
    Texts stay as they are, blank or long; rows without text or label are dropped with a warning
    where they are the smaller part. Test texts that stand among the others too are counted in a
    warning and kept. Where a test split has no labels (GLUE's), the validation split takes its
    place.
    Raises DataError for everything that is wrong with the data.
    """
    datasets.disable_progress_bars()
    for name, size in {"train_size": train_size, "test_size": test_size}.items():
        if size is not None and size < 1:
            raise DataError(f"{name} is {size}: give a whole number above zero, or leave it out")
    if not 0 <= spurious <= 1:
        raise DataError(f"spurious is {spurious}: give a share from 0 to 1")
    if not 0 <= seed < 2**32:
        raise DataError(f"seed is {seed}: give a whole number from 0 to {2**32 - 1} (--seed)")
    if isinstance(source, str) and source in WORLDS:
        if test is not None:
            raise DataError(f"the world {source!r} has its own test set: leave test= out (--test)")
        if groups not in (None, "domain"):
            raise DataError(f"the texts of the world {source!r} have the column 'domain' and no "
                            f"{groups!r}: groups='domain' (--groups domain)")  # fmt: skip
        made = world(source)
        rows = {"train": made.sample(train_size or 2500, "train", seed, spurious),
                "validation": made.sample(500, "validation"),
                "test": made.sample(test_size or 1000, "test")}  # fmt: skip
        tables = {s: pd.DataFrame(r) for s, r in rows.items()}
        if groups:
            tables["test"]["group"] = tables["test"]["domain"]
        return _pack(tables, list(made.labels))
    if spurious:
        raise DataError(f"spurious={spurious} works with a world only: leave it out")

    named = bool(text or label)
    given = {} if test is None else {"test": _test_table(test, encoding, named)}
    tables = _read(source, encoding, named) | given
    source, test = _name(source), _name(test)
    if "train" not in tables:
        raise DataError(f"{source} has no train split but {_list(tables)}: call one of them train")
    for split in tables:
        where = f"the {split} split of {test if split in given else source}"
        secret = split == "test" and not given
        chosen = _choose(tables[split].columns, text, label, where)
        if split == "train":
            columns = _columns(tables[split], *chosen)
        whole, tables[split] = tables[split], _clean(tables[split], *chosen, where, secret)
        if groups and (split in given or not given):
            found = whole.iloc[:, _given([*map(str, whole.columns)], groups, "groups", where)]
            kept = found.loc[tables[split].index].astype(object)
            tables[split] = tables[split].assign(group=kept.where(kept.notna(), "").map(str))
    if "test" in tables and Counter(_rows(tables["test"])) == Counter(_rows(tables["train"])):
        raise DataError(f"{test or f'the test split of {source}'} is what is trained on: test on "
                        "other texts, or leave test= out (--test), and a fifth is set aside")
    if "test" in tables and tables["test"].empty:  # its labels are secret
        del tables["test"]
        if "validation" in tables:
            tables["test"] = tables.pop("validation")

    own, names = set(tables), _names(tables["train"].label)
    only, count = tables["train"].label.unique(), len(tables["train"])
    if count >= 20 and len(only) > count / 2:
        raise DataError(f"the {count} training rows of {source} have {len(only)} different labels, "
                        f"such as {_list(only[:2])}: is {columns['label']!r} numbers or "
                        "texts? Say which column has the classes: label= (--label)")  # fmt: skip
    if len(only) < 2:
        raise DataError(f"all training rows of {source} have the label {_list(only)}: a classifier "
                        "needs two, so check label= (--label)")  # fmt: skip
    for split, share in {"test": 0.2, "validation": 0.1}.items():
        if split not in tables:
            train = _spread(tables["train"], 0)
            n = max(1, round(share * len(train)))
            tables |= {split: train[:n], "train": train[n:]}
    for split in ("validation", "test"):
        if unseen := {*tables[split].label} - {*tables["train"].label}:
            where = f"in the {split} split of {test if split in given else source}, not in train"
            if split not in own:  # we have set it aside
                where = f"too rare in {source}, none is left to train on"
            raise DataError(
                f"label {_list(sorted(unseen))} is {where}: drop those rows, or give train more "
                "of them"
            )
    _warn_of_overlap(tables, test or source)
    train = _spread(tables["train"], seed)[:train_size]
    if train.label.nunique() < 2:
        raise DataError(f"train_size={train_size} leaves no label but {_list(train.label.unique())}"
                        " to train on: take more texts (--train-size)")  # fmt: skip
    packed = _pack({"train": train, "validation": _spread(tables["validation"], 0),
                    "test": _spread(tables["test"], 0)[:test_size]}, names)  # fmt: skip
    packed.columns = columns
    return packed


def texts_of(data: datasets.Dataset | Mapping[str, list]) -> list[Text]:
    """The texts of a split in order: strings, or pairs of them where it has `text_pair`."""
    if "text_pair" in getattr(data, "column_names", data):
        return list(zip(data["text"], data["text_pair"], strict=True))
    return list(data["text"])


def texts_hash(data: datasets.Dataset) -> str:
    """SHA-256 of texts (or pairs) and labels, in order."""
    return hashlib.sha256(json.dumps([texts_of(data), list(data["label"])]).encode()).hexdigest()


def data_hash(splits: datasets.DatasetDict) -> str:
    """SHA-256 of all texts, pairs, labels and names of labels, in order, split by split."""
    parts = [[s, texts_hash(d), d.features["label"].names] for s, d in splits.items()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def read_file(
    path: str | PathLike, *, text: str | None = None, label: str | None = None,
    encoding: str = "utf-8",
) -> pd.DataFrame:  # fmt: skip
    """All rows of one file in their order, columns `text` (and `text_pair`) and `label`, strings; a
    cell that is empty there is missing here. The arguments are those of `load_text`. Raises
    DataError."""
    table = _file(Path(path).expanduser(), encoding, bool(text or label))
    return _cells(table, *_choose(table.columns, text, label, str(path)), str(path))


# ------------------------------------------------- reading: every source becomes {split: table}


def _read(source: Source, encoding: str, named: bool) -> dict[str, pd.DataFrame]:
    if isinstance(source, pd.DataFrame):
        return {"train": source.reset_index(drop=True)}
    if isinstance(source, datasets.Dataset | datasets.DatasetDict):
        return _from_datasets(source)
    if not isinstance(source, str | PathLike):
        raise DataError(f"a {type(source).__name__} is no data: give the name of a file, a folder "
                        "or a data set, a DataFrame, a Dataset or a DatasetDict")  # fmt: skip
    path = Path(source).expanduser()
    if any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return _from_datasets(datasets.load_from_disk(path))
    if path.is_dir():
        return {split: _file(file, encoding, named) for split, file in _folder(path).items()}
    if path.is_file() or path.suffix.lower() in ENDINGS or str(source).startswith((".", "/", "~")):
        return {"train": _file(path, encoding, named)}
    try:
        with no_waiting(source):
            return _from_datasets(datasets.load_dataset(*str(source).split(":", 1)))
    except Exception as error:  # the Hub's client has some twenty kinds of its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise DataError(
            f"{str(source)!r} is no world ({', '.join(WORLDS)}), no file, no folder, "
            f"and could not be loaded from the Hub ({reason}): check the name, or take "
            'the default, which works offline: load_text("reviews")'
        ) from error


def _test_table(test: Source, encoding: str, named: bool) -> pd.DataFrame:
    if isinstance(test, str | PathLike):
        return _file(Path(test).expanduser(), encoding, named)
    tables = _read(test, encoding, named)
    if len(tables) > 1 and "test" not in tables:
        raise DataError(f"test= has the splits {_list(tables)} and none called test: give the one "
                        "to test on")  # fmt: skip
    return tables.get("test", next(iter(tables.values())))


def _name(source: Source | None) -> str | None:
    """How messages call it."""
    tables = pd.DataFrame | datasets.Dataset | datasets.DatasetDict
    if isinstance(source, tables):
        return f"the {type(source).__name__}"
    return None if source is None else str(source)


def _from_datasets(loaded: datasets.Dataset | datasets.DatasetDict) -> dict[str, pd.DataFrame]:
    """Class numbers become names, in an ordered category; -1 becomes a missing label."""
    tables = {}
    for split, rows in (loaded if isinstance(loaded, dict) else {"train": loaded}).items():
        table = tables[SPLITS.get(split, split)] = rows.to_pandas()
        for column, feature in rows.features.items():
            if isinstance(feature, datasets.ClassLabel):
                codes = table[column].fillna(-1).astype(int)
                table[column] = pd.Categorical.from_codes(codes, feature.names, ordered=True)
    return {split: tables[split] for split in tables if split in SPLITS} or tables


def _folder(path: Path) -> dict[str, Path]:
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in ENDINGS)
    splits = [(SPLITS[file.stem.lower()], file) for file in files if file.stem.lower() in SPLITS]
    if not splits:
        there = _list(f.name for f in files) or f"nothing that ends in {', '.join(ENDINGS)}"
        raise DataError(f"the folder {path} has no data file called train, validation or test, but "
                        f"{there}: name one of them train, or give the file itself")  # fmt: skip
    if len(dict(splits)) < len(splits):
        raise DataError(f"the folder {path} has two files for one split among "
                        f"{_list(f.name for _, f in splits)}: take one of them away")  # fmt: skip
    return dict(splits)


def _file(path: Path, encoding: str, named: bool) -> pd.DataFrame:
    """The rows of one file. named: the user gave the name of a column, so there is a header."""
    kind = path.suffix.lower()
    if not path.is_file():
        raise DataError(f"there is no file {path}: check the name and the folder you are in")
    if kind not in ENDINGS:
        raise DataError(f"{path} is of a kind that cannot be read here ({kind or 'no ending'}): "
                        f"save it as one of {', '.join(ENDINGS)}")  # fmt: skip
    try:
        if kind == ".parquet":
            return pd.read_parquet(path)
        plain = encoding.lower() in ("utf-8", "utf8", "utf_8")
        content = path.read_bytes().decode("utf-8-sig" if plain else encoding)
        if not content.strip():
            raise pd.errors.EmptyDataError
        if kind == ".jsonl":
            return pd.read_json(StringIO(content), lines=True, dtype=False)
        # "NA" and "none" are texts and labels like others. A TSV holds raw quote characters
        # (SST-2 does); a CSV puts a text that holds a comma in quotes.
        sep, quoting = ("\t", csv.QUOTE_NONE) if kind == ".tsv" else (",", csv.QUOTE_MINIMAL)
        table = pd.read_csv(StringIO(content), header=None, dtype=str, keep_default_na=False,
                            sep=sep, quoting=quoting)  # fmt: skip
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path} is empty: give a file with one text a row") from error
    except (UnicodeError, LookupError) as error:
        marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        likely = "utf-16" if path.read_bytes()[:2] in marks else "latin-1"
        raise DataError(
            f"{path} cannot be read with the encoding {encoding!r}: give the one it "
            f"was saved with, such as --encoding {likely}"
        ) from error
    except (OSError, ValueError) as error:
        first = path.read_text(encoding, errors="replace").lstrip().split("\n", 1)[0]
        if kind == ".csv" and first.count(";") > first.count(","):
            raise DataError(f"the columns of {path} look separated by semicolons: save it with "
                            "commas") from error  # fmt: skip
        check = "its separators and its quotes" if kind in (".csv", ".tsv") else "or save it anew"
        raise DataError(
            f"{path} cannot be read as {kind[1:]} ({str(error).strip()}): check the "
            f"file there, {check}"
        ) from error
    return _headed(table, path, named)


def _headed(table: pd.DataFrame, path: Path, named: bool) -> pd.DataFrame:
    """Take the header off the first row, or find out which of two columns is the label."""
    first = [cell.strip() for cell in table.iloc[0]]
    known = [cell for cell in first if cell.lower() in TEXT]
    # A label may be called "question" too, but a label comes back further down; a header does not.
    alone = any((table == cell).sum().sum() == 1 for cell in known)
    if named or alone or (known and any(cell.lower() in LABEL for cell in first)):
        return table[1:].set_axis(first, axis=1)
    if len(first) == 2:
        a, b = table.nunique()
        table = table.set_axis(["label", "text"] if a < b else ["text", "label"], axis=1)
        rows = table.label.value_counts()
        if rows.get(table.label[0], 0) > 1 or rows.max() == 1:
            table.attrs["headless"] = True
            return table
    if len(first) == 1 and ";" in first[0]:
        raise DataError(f"the rows of {path} are separated by semicolons: save it with commas")
    raise DataError(f"the first row of {path} is {_list(first)}, which is not clearly a header nor "
                    "a text with its label: begin the file with a row of column names, and say "
                    "which ones to take with text= and label= (--text, --label)")  # fmt: skip


# ------------------------------------------------------------------------- from rows to splits


def _choose(columns, text: str | None, label: str | None, where: str) -> tuple[list[int], int]:
    """The places of the text's column, or of a pair's two, and of the label's."""
    names = [str(column).strip() for column in columns]
    if twice := [name for name, n in Counter(names).items() if name and n > 1]:
        raise DataError(f"{where} has more than one column called {_list(twice)}: rename them, so "
                        "that each name stands there once")  # fmt: skip
    taken = [] if label is None else [_given(names, label, "label", where)]
    if text is None:
        texts = [_usual(names, taken, "text", where)]
    else:
        whole = text.lower() in [name.lower() for name in names]  # a name may hold a comma
        parts = [text] if whole else [part.strip() for part in text.split(",")]
        if len(parts) > 2 or len({*map(str.lower, parts)}) < len(parts):
            raise DataError(f"text={text!r} is neither one column nor two different ones: give one "
                            "(--text sentence) or a pair (--text premise,hypothesis)")  # fmt: skip
        texts = [_given(names, part, "text", where) for part in parts]
    return texts, *(taken or [_usual(names, texts, "label", where)])


def _given(names: list[str], given: str, role: str, where: str) -> int:
    """The place of the column that the user named; in any case, where that is clear."""
    found = [i for i, name in enumerate(names) if name == given]
    found = found or [i for i, name in enumerate(names) if name.lower() == given.lower()]
    if not found:
        raise DataError(f"{where} has no column {given!r}, only {_list(names)}: {_say(role)}")
    if len(found) > 1:
        raise DataError(f"{where} has the columns {_list(names[i] for i in found)}: write the one "
                        f"for the {role} as it stands there")  # fmt: skip
    return found[0]


def _usual(names: list[str], taken: list[int], role: str, where: str) -> int:
    """The place of the one column whose name speaks for itself."""
    known = {"text": TEXT, "label": LABEL}[role]
    found = [i for i, name in enumerate(names) if name.lower() in known and i not in taken]
    if not found:
        raise DataError(f"{where} has no column with a usual name for the {role}, only "
                        f"{_list(names)}: {_say(role)}")  # fmt: skip
    if role == "label":  # beside a column called label, others describe the text
        found = [i for i in found if names[i].lower() == "label"] or found
    if len(found) > 1:
        several = [names[i] for i in found]
        pair = f", or two of them as a pair (--text {','.join(several[:2])})" * (role == "text")
        raise DataError(f"{where} has several columns that may be the {role}, {_list(several)}: "
                        f"say which one with {role}= (--{role} {several[0]}){pair}")  # fmt: skip
    return found[0]


def _say(role: str) -> str:
    pair = ", or two of them as a pair (--text premise,hypothesis)" * (role == "text")
    return f"say which of them it is with {role}= (--{role}){pair}"


def _columns(table: pd.DataFrame, texts: list[int], label: int) -> dict[str, str]:
    """The chosen columns by name; by number where the file has no header."""
    names = [str(column).strip() for column in table.columns]
    if table.attrs.get("headless"):
        names = [f"column {i + 1}" for i in range(len(names))]
    return {"text": ",".join(names[i] for i in texts), "label": names[label]}


def _clean(
    table: pd.DataFrame, texts: list[int], label: int, where: str, secret: bool
) -> pd.DataFrame:
    """The columns text (str), text_pair (str) for pairs, and label (str, or the ordered category of
    a ClassLabel).

    secret: may come out empty, as benchmarks keep the labels of their test set (GLUE says -1).
    """
    rows = _cells(table, texts, label, where)
    if len(rows) and secret and (rows.label.isna() | (rows.label == "-1")).all():
        return rows[:0]
    whole = rows.dropna()
    if whole.empty:
        raise DataError(f"{where} has no row with both a text and a label: check the file, and "
                        "text= and label= (--text, --label)")  # fmt: skip
    if gone := len(rows) - len(whole):
        textless = int(rows.drop(columns="label").isna().any(axis=1).sum())
        why = [f"{textless} without a text"] * (textless > 0)
        why += [f"{gone - textless} without a label"] * (gone > textless)
        if 2 * gone > len(rows):
            raise DataError(f"{where} has {' and '.join(why)} among its {len(rows)} rows: check "
                            "the file, and text= and label= (--text, --label)")  # fmt: skip
        warnings.warn(f"dropped {gone} of {len(rows)} rows of {where}: {' and '.join(why)}",
                      stacklevel=3)  # fmt: skip
    n = int(whole.label.astype(str).str.lower().isin(WRITTEN_NAN).sum())
    if 0 < n < len(whole):
        warnings.warn(f"{n} of {len(whole)} labels of {where} are the word 'nan', which is taken "
                      "for a class like the others: drop those rows if the label is missing there",
                      stacklevel=3)  # fmt: skip
    return whole


def _cells(table: pd.DataFrame, texts: list[int], label: int, where: str) -> pd.DataFrame:
    """The chosen columns of all rows; an empty cell is missing."""
    for role, place in [*(("text", i) for i in texts), ("label", label)]:
        _check_cells(table.iloc[:, place], role, where)
    labels = table.iloc[:, label]
    if pd.api.types.is_float_dtype(labels) and (labels.dropna() % 1 == 0).all():
        labels = labels.astype("Int64")  # 0 and 1, made 0.0 and 1.0 by a gap in the column
    if isinstance(labels.dtype, pd.CategoricalDtype) and labels.cat.ordered:
        labels = labels.cat.rename_categories(str)
    else:
        labels = labels.astype(object).map(lambda x: str(x).strip(), na_action="ignore")
    found = [table.iloc[:, i].astype(object).map(str, na_action="ignore") for i in texts]
    named = zip(("text", "text_pair"), found, strict=False)
    return pd.DataFrame({name: column.where(column != "") for name, column in named}
                        | {"label": labels.where(labels != "")})  # fmt: skip


def _check_cells(column: pd.Series, role: str, where: str) -> None:
    """Raise DataError for a column whose cells are lists, records or bytes."""
    odd = next((x for x in column if isinstance(x, list | tuple | set | dict | bytes | np.ndarray)),
               None)  # fmt: skip
    if odd is not None:
        odd = odd.tolist() if isinstance(odd, np.ndarray) else odd
        raise DataError(f"the column {str(column.name)!r} of {where} holds {_list([odd])}, which "
                        f"is no single {role}: give one {role} per row")  # fmt: skip


def _rows(table: pd.DataFrame) -> Iterator[tuple]:
    return zip(*(table[name] for name in table if name != "group"), strict=True)


def _warn_of_overlap(tables: dict[str, pd.DataFrame], source: str) -> None:
    """Count the test texts that stand among the others as well; nothing is taken out."""
    only = {split: list(_rows(table.drop(columns="label"))) for split, table in tables.items()}
    seen = {*only["train"], *only["validation"]}
    if n := sum(text in seen for text in only["test"]):
        warnings.warn(f"{n} of {len(only['test'])} texts of {source} to test on are also among "
                      "those to train or validate on: accuracy on them says little about new "
                      "texts, so take duplicates out", stacklevel=3)  # fmt: skip


def _names(labels: pd.Series) -> list[str]:
    if isinstance(labels.dtype, pd.CategoricalDtype):
        return list(labels.cat.categories)
    numbers = all(re.fullmatch(r"-?\d+", name) for name in set(labels))
    return sorted(set(labels), key=int if numbers else str)


def _spread(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Shuffled so that every beginning of the table holds each label in its share."""
    table = table.sample(frac=1, random_state=seed, ignore_index=True)
    rows = table.groupby("label", observed=True).text
    place = (rows.cumcount() + 0.5) / rows.transform("size")
    return table.loc[place.sort_values(kind="stable").index]


def _pack(tables: dict[str, pd.DataFrame], names: list[str]) -> Splits:
    string = datasets.Value("string")
    kinds = {"text": string, "text_pair": string, "label": datasets.ClassLabel(names=names),
             "domain": string, "group": string}  # fmt: skip
    return Splits({
        split: datasets.Dataset.from_dict(
            table.to_dict("list"), datasets.Features({column: kinds[column] for column in table})
        )
        for split, table in tables.items()
    })  # fmt: skip


def _list(items) -> str:
    """'a', 'b' and so on, five at most and none longer than forty characters."""
    shown = [repr(s if len(s) <= 40 else s[:39] + "…") for s in map(str, items)]
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
