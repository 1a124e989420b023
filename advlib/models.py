"""Load a text classifier, whatever it is: an embedded checkpoint, a local folder, or a Hub name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, normalizers
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import BertPreTokenizer
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BatchEncoding,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from advlib.corpora.engine import Text, parts_of
from advlib.hub import no_waiting
from advlib.onnx import FILE, OnnxModel, exported_file, needed

CHECKPOINTS = Path(__file__).parent / "checkpoints"
LONGEST = 512  # tokens; longer texts are cut, as every BERT does
LEAST = 8  # texts in a batch, however long they are
AT_ONCE = 2048  # texts to tokenise: their tokens are kept until all are in a batch
# What a batch carries for attacks and objectives; the model does not take it.
NOT_INPUTS = ("labels", "special_tokens_mask", "second_at", "reference", "weight")


# Latin letter -> letters of Cyrillic, Greek and Armenian that look like it (after Unicode TR 39).
CONFUSABLES = {
    "a": "аαɑ", "c": "сϲ", "d": "ԁ", "e": "еҽ", "g": "ɡ", "h": "һ", "i": "іιı", "j": "јϳ",
    "k": "κ", "l": "ӏ", "n": "ո", "o": "оοօ", "p": "рρ", "q": "ԛ", "s": "ѕ", "u": "υս", "v": "ѵν",
    "w": "ԝѡ", "x": "хχ", "y": "уү", "A": "АΑ", "B": "ВΒ", "C": "С", "E": "ЕΕ", "H": "НΗ",
    "I": "ІΙ", "J": "Ј", "K": "КΚ", "M": "МΜ", "N": "Ν", "O": "ОΟ", "P": "РΡ", "S": "Ѕ", "T": "ТΤ",
    "X": "ХΧ", "Y": "УΥ", "Z": "Ζ",
}  # fmt: skip


class ModelError(ValueError):
    """A model that cannot be loaded or used, with what to do about it."""


@dataclass
class Classifier:
    """A model with its tokenizer. A text is a string or, for a model of sentence pairs, a pair of
    strings (first, second); all texts of a call are of one kind.

    read: what is done to a text before the tokenizer sees it, or None. It is not saved."""

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    read: Callable[[Text], Text] | None = field(default=None, kw_only=True)

    def __post_init__(self):
        # Padding on the left would move a text's tokens, and in models that count positions from
        # there its logits too, whenever it stands beside a longer one.
        self.tokenizer.padding_side = "right"

    @property
    def labels(self) -> list[str]:
        """The class names, in the order of the logits."""
        names = self.model.config.id2label
        return [str(names[i]) for i in range(len(names))]

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def max_length(self) -> int:
        """How many tokens the model can read; longer texts are cut."""
        config = self.model.config
        positions = getattr(config, "max_position_embeddings", None) or LONGEST
        if positions < 1:  # some say -1 for no limit
            positions = LONGEST
        if config.model_type in ("roberta", "xlm-roberta", "camembert"):
            positions -= config.pad_token_id + 1  # these count positions from there
        return min(self.tokenizer.model_max_length, positions, LONGEST)

    def classes(self, texts: Sequence[Text], labels: Sequence[int]) -> np.ndarray:
        """The labels as integers, (texts,). Raises ValueError unless each text has one class."""
        found, known = np.asarray(labels), range(len(self.labels))
        if len(texts) != len(found):
            raise ValueError(f"{len(texts)} texts but {len(found)} labels: give one per text")
        for y in found.tolist():
            if y not in known:
                raise ValueError(f"a label must be a class of the model, 0 to {known[-1]}, but one "
                                 f"is {y!r}: leave out texts without a label")  # fmt: skip
        return found.astype(int)

    def tokens(self, texts: Sequence[Text], **settings) -> BatchEncoding:
        """What the tokenizer makes of the texts, cut to what the model can read: of a pair the
        longer text first. Special tokens are marked, those between the two texts of a pair as well.
        Pairs have a further entry, `second_at`: at which token the second text begins.

        settings: for the tokenizer. Raises ModelError where a pair cannot be told apart.
        """
        settings = dict(truncation=True, max_length=self.max_length,
                        return_special_tokens_mask=True) | settings  # fmt: skip
        if self.read and settings.get("return_offsets_mapping"):
            raise ModelError("this classifier reads another text than it is given, so a token has "
                             "no place in it: take an attack that needs no gradients on words")
        texts = [self.read(text) for text in texts] if self.read else texts
        parts = [parts_of(text) for text in texts]
        pairs = sum(len(part) == 2 for part in parts)
        if not pairs:
            return self.tokenizer(list(texts), **settings)
        if pairs < len(parts):
            raise ValueError(f"{pairs} of {len(parts)} texts are pairs: give texts of one kind")
        marks = self.tokenizer.num_special_tokens_to_add
        if not self.tokenizer.is_fast or marks(pair=True) <= marks(pair=False):
            raise ModelError("this model's tokenizer puts no mark between the two texts of a pair, "
                             "so the model cannot tell them apart: take a model that knows pairs, "
                             "such as a BERT, or make one text of the two")  # fmt: skip
        out = self.tokenizer(*map(list, zip(*parts, strict=True)), **settings)
        places = [out.sequence_ids(i) for i in range(len(parts))]
        # Behind all tokens where nothing is left of the second text.
        out["second_at"] = [p.index(1) if 1 in p else int(sum(mask))
                            for p, mask in zip(places, out["attention_mask"], strict=True)]
        return out

    def _inputs(self, texts: Sequence[Text]) -> Mapping[str, list]:
        """Of `tokens` what a prediction needs, faster where the tokenizer is BERT's: it cuts words
        between spaces each by itself, and most words that an attack asks about were cut before."""
        tokenizer = self.tokenizer
        pieces = word_pieces(tokenizer) if all(isinstance(t, str) for t in texts) else None
        if pieces is None:
            return self.tokens(texts)
        split = [(self.read(text) if self.read else text).split(" ") for text in texts]
        if fresh := list(set(chain.from_iterable(split)) - pieces.keys()):
            cut = tokenizer(fresh, add_special_tokens=False, return_attention_mask=False)
            pieces.update(zip(fresh, cut["input_ids"], strict=True))
        first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
        most = self.max_length - 2
        ids = [[first, *list(chain.from_iterable(map(pieces.__getitem__, some)))[:most], last]
               for some in split]  # fmt: skip
        out = dict.fromkeys(("token_type_ids", "attention_mask"))
        return {"input_ids": ids} | {n: out[n] for n in out if n in tokenizer.model_input_names}

    def encode(
        self, texts: Sequence[Text], labels: Sequence[int] | None = None
    ) -> dict[str, Tensor]:
        """A batch on the model's device: `input_ids`, `attention_mask`, `special_tokens_mask`, all
        (batch, tokens), padded to the longest text, `second_at` (batch,) for pairs (see `tokens`),
        and `labels` (batch,) where given."""
        return self._padded(self.tokens(texts), range(len(texts)), labels)

    def _padded(
        self, found: Mapping[str, list], chosen: Sequence[int], labels: Sequence[int] | None
    ) -> dict[str, Tensor]:
        """The batch of some of the texts, from what `tokens` found of all."""
        lengths = np.array([len(found["input_ids"][i]) for i in chosen], dtype=int)
        real = np.arange(max(1, lengths.max(initial=0))) < lengths[:, None]  # one of padding each
        padding = {"input_ids": self.tokenizer.pad_token_id, "special_tokens_mask": 1,
                   "token_type_ids": self.tokenizer.pad_token_type_id}  # fmt: skip
        if padding["input_ids"] is None:
            raise ModelError("the tokenizer has no padding token: give it one, such as "
                             "tokenizer.pad_token = tokenizer.eos_token")  # fmt: skip
        batch = {}
        for name, values in found.items():
            if name == "second_at":
                batch[name] = np.array([values[i] for i in chosen], dtype=np.int64)
            elif name == "attention_mask":
                batch[name] = real.astype(np.int64)
            elif values is None:  # of single texts
                batch[name] = np.zeros(real.shape, dtype=np.int64)
            else:
                batch[name] = np.full(real.shape, padding.get(name, 0), dtype=np.int64)
                flat = chain.from_iterable(values[i] for i in chosen)
                batch[name][real] = np.fromiter(flat, np.int64, lengths.sum())
        if labels is not None:
            batch["labels"] = np.array([labels[i] for i in chosen], dtype=np.int64)
        device = self.device
        return {name: torch.from_numpy(v).to(device) for name, v in batch.items()}

    def batches(
        self, texts: Sequence[Text], labels: Sequence[int] | None = None,
        batch_size: int | None = None,
    ) -> Iterator[tuple[list[int], dict[str, Tensor]]]:  # fmt: skip
        """(indices, batch) over all texts, similar lengths together so that little is padding.

        batch_size: None is what suits the device and the lengths, 8 to 256 texts."""
        return self._batches(self.tokens, texts, labels, batch_size)

    def _batches(self, tokens: Callable, texts, labels, batch_size):
        """`batches`, with a function of texts that finds their tokens."""
        order = sorted(range(len(texts)), key=lambda i: sum(map(len, parts_of(texts[i]))))
        for start in range(0, len(order), AT_ONCE):
            some = order[start : start + AT_ONCE]
            found = tokens([texts[i] for i in some])
            lengths = [len(ids) for ids in found["input_ids"]]
            picked = None if labels is None else [labels[i] for i in some]
            # All at once: made between the passes, batches slowed them by 3 to 4 % on a CPU.
            yield from [([some[k] for k in chosen], self._padded(found, chosen, picked))
                        for chosen in self._groups(lengths, batch_size)]  # fmt: skip

    def _groups(self, lengths: Sequence[int], batch_size: int | None) -> list[list[int]]:
        """Which texts make a batch, by how many tokens they have.

        A CPU is fastest where what a layer computes stays in its cache: some 700 tokens (64 short
        texts at once take up to 1.4 times as long as 16). A small rest costs nearly as much as a
        full batch, so there it goes along with the others. A GPU wants much at a time: some 13,000
        tokens, for which an attack on BERT-base keeps 8 GB (66 bytes a token, layer and hidden
        unit), and of a larger model as many fewer."""
        config, on_cpu = self.model.config, self.device.type == "cpu"
        size = getattr(config, "num_hidden_layers", 12) * getattr(config, "hidden_size", 768)
        most = 700 if on_cpu else 13_000 * min(1, 12 * 768 / size)
        groups = _cut(lengths, batch_size, most)
        if on_cpu and batch_size is None and len(groups) > 1:
            longest = lengths[groups[-1][-1]]
            rest = len(groups[-1]) * longest / max(most, LEAST * longest)
            wider = 1 + (rest + 0.1) / (len(groups) - 1)  # a little more, for padding
            if rest < 0.5 and wider < 1.5:
                return _cut(lengths, batch_size, most * wider, LEAST * wider)
        return groups

    @torch.inference_mode()
    def logits(self, texts: Sequence[Text], batch_size: int | None = None) -> np.ndarray:
        """(texts, classes) float32, computed in eval mode; the model's mode is put back.

        Raises ModelError where one is not finite: comparisons with it would pass for robustness.
        """
        if isinstance(texts, str):
            raise TypeError("pass a list of texts, not one text: predict([text])")
        out = np.zeros((len(texts), len(self.labels)), dtype=np.float32)
        training = [module for module in self.model.modules() if module.training]
        if training:
            self.model.eval()
        try:
            found = [(chosen, raw_logits(self.model, batch).float())
                     for chosen, batch in self._batches(self._inputs, texts, None, batch_size)]
        finally:
            for module in training:
                module.training = True
        for chosen, z in found:  # only now, for a GPU would wait for each
            out[chosen] = z.cpu().numpy()
        if not np.isfinite(out).all():
            raise ModelError("the model's logits are not finite, as after a training that "
                             "diverged: load an earlier checkpoint")  # fmt: skip
        return out

    def predict(self, texts: Sequence[Text], batch_size: int | None = None) -> np.ndarray:
        """Class probabilities, (texts, classes)."""
        z = self.logits(texts, batch_size)
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    def save(self, folder: str | Path) -> None:
        """Write the plain Hugging Face layout: `transformers.pipeline` loads it. Raises ModelError
        where `read` is set, for it would be lost."""
        if self.read:
            raise ModelError("this classifier changes texts before its tokenizer, and that cannot "
                             "be saved: save the victim it was made of, and make it again")
        # A tokenizer made here knows no length; without it `truncation=True` would cut nothing.
        self.tokenizer.model_max_length = self.max_length
        with quiet():
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)


PIECES = WeakKeyDictionary()  # tokenizer -> (its settings, word -> tokens)
MOST_PIECES = 100_000  # words; then it begins anew


def word_pieces(tokenizer: PreTrainedTokenizerBase) -> dict[str, list[int]] | None:
    """Words between spaces that were cut into tokens so far, for a tokenizer that cuts each by
    itself: BERT's, as it comes. None for any other."""
    inner = getattr(tokenizer, "backend_tokenizer", None) if tokenizer.is_fast else None
    if inner is None or type(inner.model) is not WordPiece or tokenizer.truncation_side != "right":
        return None
    normalizer = inner.normalizer.__getstate__() if inner.normalizer else b"{}"  # as JSON
    settings = (len(tokenizer), normalizer, str(inner.post_processor))
    known, pieces = PIECES.get(tokenizer, (None, None))
    if known != settings:
        marks = [tokenizer.cls_token_id, tokenizer.sep_token_id]
        added = (str(token) for token in tokenizer.get_added_vocab())
        usual = (_word_by_word(json.loads(normalizer))
                 and type(inner.pre_tokenizer) is BertPreTokenizer
                 and tokenizer("")["input_ids"] == marks
                 and not any(" " in token for token in added))  # fmt: skip
        pieces = {} if usual else None
        PIECES[tokenizer] = settings, pieces
    if pieces and len(pieces) > MOST_PIECES:
        pieces.clear()
    return pieces


def _word_by_word(normalizer: dict) -> bool:
    """Whether this normalizer, as JSON, makes of words with a space between them what it makes of
    each alone. NFKC does: a space is composed with nothing, and nothing moves across it."""
    match normalizer:
        case {"type": "BertNormalizer" | "NFKC"}:
            return True
        case {"type": "Replace", "pattern": {"String": one}}:
            return len(one) == 1 and one != " "
        case {"type": "Sequence", "normalizers": steps}:
            return all(map(_word_by_word, steps))
    return False


def raw_logits(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """One forward pass. Raises ModelError where its precision lacks an operation of the model."""
    inputs = {name: value for name, value in batch.items() if name not in NOT_INPUTS}
    try:
        return model(**inputs).logits
    except RuntimeError as error:
        if not str(error).startswith("Unsupported dtype"):  # FNet's Fourier transform
            raise
        raise ModelError(f"{type(model).__name__} cannot run in half precision ({error}): load "
                         "and train it in float32") from error  # fmt: skip


def _cut(lengths: Sequence[int], size: int | None, most: float, least: float = LEAST) -> list:
    """Batches of `size` texts; None: as many, padded, as `most` tokens hold, `least` to 256."""
    batches: list[list[int]] = [[]]
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        count = len(batches[-1])
        full = count >= least and (count + 1) * lengths[i] > most or count >= 256
        if count == size or (size is None and full):
            batches.append([])
        batches[-1].append(i)
    return batches if lengths else []


def load_classifier(
    source: str | Path = "reviews-clean",
    *,
    labels: Iterable[str] | None = None,
    device: str | torch.device | None = None,
) -> Classifier:
    """Load a model and its tokenizer.

    source: an embedded checkpoint ("bert-tiny", "reviews-clean", "reviews-robust", …), a folder in
        the Hugging Face layout, a name on the Hub, or what `advlib export` wrote: its folder, or,
        where weights for PyTorch stand beside it, FOLDER/model.onnx (see `load_onnx`).
    labels: class names for the classification head. The model gets a new head where it has none or
        one of another size (random until it is trained: call `transformers.set_seed` first); a head
        of this size stays and takes the names. None keeps the model's own head and names.
    device: None takes the GPU where there is one.

    Raises ModelError (a ValueError) where something is missing or damaged, and says what to do.
    Never runs code that a model brings along (`trust_remote_code` stays off) and never unpickles.
    """
    if (file := exported_file(source)) and str(source) not in embedded_checkpoints():
        if labels is not None:
            raise ModelError(f"{source} is an exported model, which cannot be trained or get a new "
                             "head: leave labels out, or load the original")  # fmt: skip
        if torch.device(device or "cpu").type != "cpu":
            raise ModelError(f"{source} is an exported model, which runs on the CPU: leave "
                             f"device={str(device)!r} out")  # fmt: skip
        return load_onnx(file)
    head = {}
    if isinstance(labels, str):
        raise ModelError(f"labels={labels!r} is one name: give a list of all of them, such as "
                         f"labels=['neg', 'pos']")  # fmt: skip
    if labels is not None:
        names = [str(label) for label in labels]
        if len(names) < 2 or len({*names}) < len(names):
            raise ModelError(f"labels={names} are not two or more different names: give each class "
                             "its own")  # fmt: skip
        head = dict(num_labels=len(names), id2label=dict(enumerate(names)),
                    label2id={n: i for i, n in enumerate(names)})  # fmt: skip
    victim, missing = _loaded(AutoModelForSequenceClassification, source, device, **head)
    if labels is None and missing:
        raise ModelError(
            f"{source} has no trained classification head: train it (`advlib run --model {source}`)"
            ", or in Python pass labels=[...] for a new one and train that"
        )
    return victim


def _loaded(kind: type, source: str | Path, device, **head) -> tuple[Classifier, Collection[str]]:
    """A model of that kind (an `AutoModelFor…`) with its tokenizer, and which of its weights were
    not found. head: the settings of a new one. Raises ModelError."""
    name, source = str(source), _locate(source)
    # False, not None: None would ask at the keyboard whether to run the model's own code.
    safe = dict(trust_remote_code=False)
    with quiet(), no_waiting(source):
        try:
            config = AutoConfig.from_pretrained(source, **safe, **head)
            tokenizer = AutoTokenizer.from_pretrained(source, **safe)
            model, loading = kind.from_pretrained(
                source, config=config, dtype=torch.float32, use_safetensors=True,
                ignore_mismatched_sizes=bool(head), output_loading_info=True, **safe,
            )  # fmt: skip
        except Exception as error:  # libraries raise many kinds; the reader needs one sentence
            raise ModelError(_why(name, source, error)) from error
    _check_vocabulary(name, tokenizer, model)
    if tokenizer.pad_token is None:  # GPT-2 and Llama come without one
        tokenizer.pad_token = tokenizer.eos_token
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return Classifier(model.to(device).eval(), tokenizer), loading["missing_keys"]


def load_onnx(source: str | Path, threads: int | None = None) -> Classifier:
    """What `advlib export` wrote, run by ONNX Runtime on the CPU and used as any other classifier:
    `predict`, and attacks on words, which so measure what is really served.

    source: its folder or its file. threads: None leaves the number to ONNX Runtime.
    Raises ModelError where something is missing or damaged.
    """
    path = Path(source).expanduser()
    folder = path.parent if path.name == FILE else path
    if not (folder / FILE).is_file():
        raise ModelError(f"{folder} holds no {FILE}: write it with `advlib export`")
    _check_parts(folder)
    needed("onnxruntime")
    try:
        with quiet():
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model = OnnxModel(folder / FILE, config, threads)
    except Exception as error:
        raise ModelError(_why(str(folder), folder, error)) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return Classifier(model.eval(), tokenizer)


def load_language_model(
    source: str | Path = "bert-tiny", *, device: str | torch.device | None = None
) -> Classifier:
    """Load a masked language model and its tokenizer; its logits are (batch, tokens, vocabulary).

    source, device: as for `load_classifier`. Raises ModelError.
    """
    reader, missing = _loaded(AutoModelForMaskedLM, source, device)
    if missing or reader.tokenizer.mask_token is None:
        raise ModelError(
            f"{source} cannot guess masked words: it has no trained head for that, or no mask "
            "token; give a masked language model such as bert-base-uncased"
        )
    return reader


def fold_look_alikes(victim: Classifier) -> Classifier:
    """The same model with a tokenizer that reads letters of other scripts as the Latin letters that
    they look like (`CONFUSABLES`), and full-width or other variants as plain ones (NFKC).

    To a WordPiece vocabulary without them a word with one such letter is [UNK], and what it said is
    lost, whatever the model has learned. For models of languages in Latin script. Texts without
    such letters get the tokens that they had; saved and loaded, the tokenizer keeps the habit.

    Raises ModelError for a tokenizer that is not one of the library `tokenizers`.
    """
    if not victim.tokenizer.is_fast:
        raise ModelError("look-alikes can be folded in fast tokenizers only, and "
                         f"{type(victim.tokenizer).__name__} is none")  # fmt: skip
    old = victim.tokenizer
    backend = Tokenizer.from_str(old.backend_tokenizer.to_str())
    folds = [normalizers.Replace(odd, letter) for letter, found in CONFUSABLES.items()
             for odd in found]  # fmt: skip
    then = [backend.normalizer] if backend.normalizer else []
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), *folds, *then])
    # A class of its own architecture would build its normaliser anew when it is loaded.
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=victim.max_length,
        model_input_names=old.model_input_names, **old.special_tokens_map,
    )  # fmt: skip
    return Classifier(victim.model, tokenizer, read=victim.read)


def _check_vocabulary(name: str, tokenizer: PreTrainedTokenizerBase, model: nn.Module) -> None:
    """Raise ModelError for a tokenizer with tokens that the model has no embedding of."""
    try:
        rows = model.get_input_embeddings().weight.shape[0]
    except (AttributeError, NotImplementedError):  # no such table: nothing to compare with
        return
    last = max(tokenizer.get_vocab().values(), default=0)
    if last >= rows:
        token = tokenizer.convert_ids_to_tokens(last)
        raise ModelError(
            f"the tokenizer of {name} has tokens up to number {last} ({token!r}), but the model "
            f"knows {rows} only: save the tokenizer that belongs to the model, or call "
            "model.resize_token_embeddings(len(tokenizer)) and train"
        )


def _locate(source: str | Path) -> str | Path:
    """The folder of an embedded checkpoint or of the user's, checked; else the name on the Hub."""
    name = str(source)
    embedded = CHECKPOINTS / name
    if embedded.parent == CHECKPOINTS and (embedded / "card.json").is_file():
        check_weights(embedded)
        return embedded
    if Path(source).exists() or name.startswith((".", "/", "~")):
        folder = Path(source).expanduser()
        _check_folder(folder)
        return folder
    return name


def embedded_checkpoints() -> dict[str, dict]:
    """Name -> card of every checkpoint that the package ships."""
    cards = sorted(CHECKPOINTS.glob("*/card.json"))
    return {card.parent.name: json.loads(card.read_text()) for card in cards}


def check_weights(folder: Path) -> None:
    """Raise ModelError unless the weights are those that the card describes (SHA-256)."""
    wanted = json.loads((folder / "card.json").read_text())["sha256"]
    weights = folder / "model.safetensors"
    found = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else "no file"
    if found != wanted:
        raise ModelError(
            f"the checkpoint {folder.name!r} is damaged: its SHA-256 is {found[:12]}… where its "
            f"card says {wanted[:12]}…; install advlib again, or make it anew with "
            "`make checkpoints`"
        )


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ModelError(f"there is no model folder {folder}: check the path")
    if (folder / "config.json").is_file() and not list(folder.glob("*.safetensors")):
        raise ModelError(
            f"{folder} has no weights as safetensors (other formats can run code and are not "
            "loaded); convert them with model.save_pretrained(folder)"
        )
    _check_parts(folder)


def _check_parts(folder: Path) -> None:
    """What stands beside the weights."""
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} is no model folder: it has no config.json")
    if not any((folder / f).is_file() for f in ("tokenizer.json", "vocab.txt", "vocab.json",
                                                "tokenizer.model", "spiece.model")):  # fmt: skip
        raise ModelError(
            f"{folder} has no tokenizer: put it there with "
            f"tokenizer.save_pretrained({str(folder)!r})"
        )


def _why(name: str, source: str | Path, error: Exception) -> str:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(source, Path):
        return f"the model in {name} cannot be loaded: {first}"
    return (
        f"{name!r} is neither an embedded checkpoint ({', '.join(embedded_checkpoints())}) nor a "
        "folder here, and the Hub did not deliver it (no network, no such name, or no safetensors: "
        f"{first}); the embedded models work offline"
    )


@contextmanager
def quiet() -> Iterator[None]:
    """No load reports and progress bars from transformers inside."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
