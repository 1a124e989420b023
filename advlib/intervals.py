"""Interval bounds: where an input lies in a box, in which box the output lies.

A box is two tensors (lo, hi) of one shape with lo ≤ hi. Every function here is sound: what the
network's function gives for any point of the box lies in the box that is returned, and a box of
width 0 comes back with width 0, up to rounding. Interval bound propagation (Gowal et al. 2018,
arXiv 1810.12715) chains them; what each step forgets is how coordinates go together, so boxes of
a deep network grow fast. Rounding is not bounded: compute in float64 where boxes are narrow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advlib.embeddings import attackable, bare, embedding_layer, mean_norm

Box = tuple[Tensor, Tensor]
# GELU(x) = x·Φ(x) falls up to here and rises from here: its derivative Φ(x) + x·φ(x) is 0.
GELU_TURN, GELU_LEAST = -0.7517915246935645, -0.16997120747990369


def affine(lo: Tensor, hi: Tensor, weight: Tensor, bias: Tensor | float = 0.0) -> Box:
    """W·x + b: the centre goes through the layer, the radius through |W|. Tight for each output
    by itself. lo, hi: (…, in); weight: (out, in); bias: (out,) or 0."""
    centre = (lo + hi) / 2 @ weight.T + bias
    radius = (hi - lo) / 2 @ weight.abs().T
    return centre - radius, centre + radius


def relu(lo: Tensor, hi: Tensor) -> Box:
    return lo.relu(), hi.relu()


def tanh(lo: Tensor, hi: Tensor) -> Box:
    return lo.tanh(), hi.tanh()


def gelu(lo: Tensor, hi: Tensor) -> Box:
    """The exact GELU, x·Φ(x). Tight."""
    a, b = nn.functional.gelu(lo), nn.functional.gelu(hi)
    turns = (lo <= GELU_TURN) & (hi >= GELU_TURN)
    return torch.where(turns, a.new_tensor(GELU_LEAST), torch.minimum(a, b)), torch.maximum(a, b)


def product(a: Box, b: Box) -> Box:
    """x·y, elementwise, x in the first box and y in the second: the least and the largest of the
    four products of ends. Tight where x and y are independent."""
    ends = torch.stack([x * y for x in a for y in b])
    return ends.amin(0), ends.amax(0)


def matmul(a: Box, b: Box) -> Box:
    """X @ Y: sums of `product`. (…, n, k) and (…, k, m)."""
    rows = [product((lo[..., None], hi[..., None]), b)
            for lo, hi in zip(a[0].unbind(-2), a[1].unbind(-2), strict=True)]  # fmt: skip
    return tuple(torch.stack([row[end].sum(-2) for row in rows], -2) for end in (0, 1))


def softmax(lo: Tensor, hi: Tensor) -> Box:
    """Softmax over the last dimension, each output by itself: it is smallest where its own logit is
    lowest and all others are highest. Written as sigmoid(z_i − logsumexp of the others), which is
    finite at ±1000 where e^z is not. −inf in both ends leaves an entry out."""
    size = lo.shape[-1]
    own = torch.eye(size, dtype=torch.bool, device=lo.device)

    def others(z: Tensor) -> Tensor:
        rows = z[..., None, :].expand(*z.shape, size)
        return rows.masked_fill(own, -torch.inf).logsumexp(-1)

    return torch.sigmoid(lo - others(hi)), torch.sigmoid(hi - others(lo))


def weighted_mean(share: Box, value: Box, real: Tensor) -> Box:
    """X @ Y where each row of X holds shares that sum to 1: `matmul`, and no mean lies outside the
    least and the largest value. share: (…, n, m); value: (…, m, k); real: (…, m, 1), False for
    values whose share is always 0."""
    low, high = matmul(share, value)
    least = value[0].masked_fill(~real, torch.inf).amin(-2, keepdim=True)
    most = value[1].masked_fill(~real, -torch.inf).amax(-2, keepdim=True)
    return low.maximum(least), high.minimum(most)


def layer_norm(lo: Tensor, hi: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-12) -> Box:
    """(x − mean) / √(variance + eps) · weight + bias over the last dimension: bounds of x − mean
    and of the variance, divided, and capped: no coordinate of n that are normalised exceeds
    √(n − 1). lo, hi: (…, n); weight, bias: (n,)."""
    n = lo.shape[-1]
    less_mean = torch.eye(n, dtype=lo.dtype, device=lo.device) - 1 / n
    lo, hi = affine(lo, hi, less_mean)
    least = torch.where((lo <= 0) & (hi >= 0), 0.0, torch.minimum(lo**2, hi**2))
    most = torch.maximum(lo**2, hi**2)
    one_over = tuple((v.mean(-1, keepdim=True) + eps).rsqrt() for v in (most, least))
    cap = math.sqrt(max(n - 1, 0))
    lo, hi = (end.clamp(-cap, cap) for end in product((lo, hi), one_over))
    lo, hi = product((lo, hi), (weight, weight))
    return lo + bias, hi + bias


# ---------------------------------------------------------------------- a whole BERT


@dataclass(frozen=True)
class Bounds:
    """lo, hi: of the logits, (texts, classes). widths: (texts, 1 + layers), the mean width of a
    coordinate of a real token after the embedding and after each layer."""

    lo: Tensor
    hi: Tensor
    widths: Tensor

    def certified(self, labels: Tensor) -> Tensor:
        """(texts,) True where the label's lowest logit is above every other's highest."""
        others = self.hi.scatter(1, labels[:, None], -torch.inf).amax(1)
        return self.lo.gather(1, labels[:, None])[:, 0] > others


@torch.no_grad()
def bert_bounds(model: nn.Module, batch: Mapping[str, Tensor], radius: float) -> Bounds:
    """Logits of a BERT classifier, dropout off, for every δ with |δ| ≤ radius in each coordinate of
    each token that may be attacked; computed in float64.

    radius: as ε of an attack with norm "linf": in units of the mean norm of a token embedding over
        √hidden. An L2 ball of ε over the whole text lies in the box of radius ε·√hidden.
    batch: of `Classifier.encode(texts, labels)`. Memory: 32 bytes · texts · tokens · hidden · few.

    Raises ValueError for a model that is no BertForSequenceClassification with exact GELU, and for
    a radius below zero.
    """
    if not radius >= 0:
        raise ValueError(f"radius must be at least 0, got {radius!r}")
    model = bare(model)
    config, bert = getattr(model, "config", None), getattr(model, "bert", None)
    if bert is None or config.hidden_act != "gelu" or not hasattr(model, "classifier"):
        raise ValueError(f"{type(model).__name__} is no BERT classifier with GELU, the only model "
                         "whose layers these bounds follow: certify it by a vote "
                         "(advlib.certify.SmoothedWords)")  # fmt: skip
    inner, ids, mask = bert.embeddings, batch["input_ids"], batch["attention_mask"].bool()
    size = config.hidden_size
    kinds = batch.get("token_type_ids", torch.zeros_like(ids))
    place = torch.arange(ids.shape[1], device=ids.device)
    rest = inner.position_embeddings(place).double() + inner.token_type_embeddings(kinds).double()
    middle = embedding_layer(model).weight[ids].double() + rest
    half = attackable(batch)[..., None] * (radius * mean_norm(model) / math.sqrt(size))
    box = _norm(inner.LayerNorm, middle - half, middle + half)
    widths = [_width(box, mask)]
    for layer in bert.encoder.layer:
        box = _layer(layer, box, mask, config.num_attention_heads)
        widths.append(_width(box, mask))
    first = tuple(end[:, 0] for end in box)
    logits = _linear(model.classifier, *tanh(*_linear(bert.pooler.dense, *first)))
    return Bounds(*logits, torch.stack(widths, 1))


def _layer(layer: nn.Module, box: Box, mask: Tensor, heads: int) -> Box:
    own, out = layer.attention.self, layer.attention.output

    def split(end: Tensor) -> Tensor:
        return end.unflatten(-1, (heads, -1)).transpose(1, 2)  # (texts, heads, tokens, size)

    query, key, value = (tuple(map(split, _linear(part, *box)))
                         for part in (own.query, own.key, own.value))  # fmt: skip
    scores = matmul(query, tuple(end.mT for end in key))
    scale = math.sqrt(query[0].shape[-1])
    share = softmax(*((end / scale).masked_fill(~mask[:, None, None], -torch.inf)
                      for end in scores))  # fmt: skip
    mixed = weighted_mean(share, value, mask[:, None, :, None])
    mixed = _linear(out.dense, *(end.transpose(1, 2).flatten(2) for end in mixed))
    box = _norm(out.LayerNorm, mixed[0] + box[0], mixed[1] + box[1])
    inside = _linear(layer.output.dense, *gelu(*_linear(layer.intermediate.dense, *box)))
    return _norm(layer.output.LayerNorm, inside[0] + box[0], inside[1] + box[1])


def _linear(layer: nn.Linear, lo: Tensor, hi: Tensor) -> Box:
    return affine(lo, hi, layer.weight.double(), layer.bias.double())


def _norm(layer: nn.LayerNorm, lo: Tensor, hi: Tensor) -> Box:
    return layer_norm(lo, hi, layer.weight.double(), layer.bias.double(), layer.eps)


def _width(box: Box, mask: Tensor) -> Tensor:
    """(texts,)"""
    widths = (box[1] - box[0]).mean(-1) * mask
    return widths.sum(1) / mask.sum(1)
