"""Right and wrong answers to the exercises of lesson 03; a regex names each mistake."""

import numpy as np
import torch
import torch.nn.functional as F

import advlib
from advlib.attacks.embedding import attackable, perturbed_logits, wrong_margin

# ---------------------------------------------------------------- right answers


def sign_by_where(grad, mask, eps):
    step = (grad > 0).to(grad) - (grad < 0).to(grad)
    return torch.where(mask[..., None], eps * step, torch.zeros_like(grad))


def sign_masked_first(grad, mask, eps):
    return eps * torch.sign(grad * mask.unsqueeze(-1))


def ball_by_normalize(grad, mask, eps):
    flat = (grad * mask[..., None]).flatten(1)
    return eps * F.normalize(flat, dim=1).view_as(grad)


def ball_one_by_one(grad, mask, eps):
    delta = torch.zeros_like(grad)
    for i, row in enumerate(grad):
        size = row[mask[i]].norm()
        if size > 0:
            delta[i, mask[i]] = eps * row[mask[i]] / size
    return delta


def noise_by_norms(delta, mask, generator):
    noise = torch.randn(*delta.shape, generator=generator) * mask[..., None]
    return noise * (delta.norm(dim=(1, 2)) / noise.norm(dim=(1, 2)))[:, None, None]


def noise_row_by_row(delta, mask, generator):
    noise = torch.zeros_like(delta)
    for i, row in enumerate(delta):
        drawn = torch.normal(0.0, 1.0, row[mask[i]].shape, generator=generator)
        noise[i, mask[i]] = F.normalize(drawn.flatten(), dim=0).view_as(drawn) * row.norm()
    return noise


def loss_of(model, batch, delta, reduction="none"):
    return F.cross_entropy(perturbed_logits(model, batch, delta), batch["labels"],
                           reduction=reduction)  # fmt: skip


def slope_at(model, batch, delta, reduction="sum"):
    delta = delta.detach().clone().requires_grad_()
    return torch.autograd.grad(loss_of(model, batch, delta, reduction), delta)[0]


def forecast_by_gradient(model, batch, delta):
    grad = slope_at(model, batch, torch.zeros_like(delta))
    with torch.no_grad():
        actual = loss_of(model, batch, delta) - loss_of(model, batch, 0 * delta)
    return (grad * delta).flatten(1).sum(1), actual


def forecast_on_words(model, batch, delta):
    """delta is 0 elsewhere, so the mask changes nothing."""
    predicted = zero_slope(model, batch, delta) * delta * attackable(batch)[..., None]
    return predicted.sum((1, 2)), forecast_by_gradient(model, batch, delta)[1]


def forecast_by_jvp(model, batch, delta):
    """The slope along delta, as the derivative in a scale that is 0 at the start."""
    scale = torch.zeros(len(delta), 1, 1, dtype=delta.dtype, requires_grad=True)
    start = loss_of(model, batch, scale * delta)
    (slope,) = torch.autograd.grad(start.sum(), scale)
    return [slope.flatten(), (loss_of(model, batch, delta) - start).detach()]


def nearest_by_differences(embedded, table, k):
    away = (embedded[:, None, :] - table[None]).square().sum(-1)
    return away.argsort(dim=1)[:, :k]


def nearest_by_squares(embedded, table, k):
    """‖e‖² is the same for all words, so −2 e·w + ‖w‖² orders them."""
    return (table.square().sum(1) - 2 * embedded @ table.T).topk(k, dim=1, largest=False)[1]


def sign_by_numpy(grad, mask, eps):
    step = eps * np.sign(grad.numpy()) * mask.numpy()[..., None]
    return torch.tensor(step, dtype=grad.dtype)


def ball_by_numpy(grad, mask, eps):
    g = grad.double().numpy() * mask.numpy()[..., None]
    size = np.sqrt((g**2).sum((1, 2), keepdims=True))
    return torch.from_numpy(np.divide(eps * g, size, out=np.zeros_like(g), where=size > 0)).float()


def noise_in_double(delta, mask, generator):
    noise = torch.randn(delta.shape, generator=generator, dtype=torch.double) * at(mask)
    return sized(noise, delta).to(delta)


def forecast_text_by_text(model, batch, delta):
    rows = [forecast_by_gradient(model, {k: v[i : i + 1] for k, v in batch.items()}, d[None])
            for i, d in enumerate(delta)]  # fmt: skip
    return [torch.cat(column).float() for column in zip(*rows, strict=True)]


def nearest_by_numpy(embedded, table, k):
    away = embedded.numpy()[:, None] - table.numpy()
    return torch.from_numpy((away**2).sum(-1).argsort(axis=1)[:, :k].astype("int16"))


RIGHT = [
    ("03.1", sign_by_where), ("03.1", sign_masked_first), ("03.1", sign_by_numpy),
    ("03.2", ball_by_normalize), ("03.2", ball_one_by_one), ("03.2", ball_by_numpy),
    ("03.4", forecast_by_gradient), ("03.4", forecast_by_jvp),
    ("03.4", forecast_on_words), ("03.4", forecast_text_by_text),
    ("03.5", nearest_by_differences), ("03.5", nearest_by_squares),
    ("03.5", lambda e, t, k: nearest_by_squares(e, t, k).int()),
    ("03.5", nearest_by_numpy),
    ("03.3", noise_row_by_row), ("03.3", noise_in_double),
    ("03.3", lambda d, m, g: torch.nan_to_num(noise_by_norms(d, m, g))),
]  # fmt: skip

# ---------------------------------------------------------------- wrong answers


def at(mask):
    return mask[..., None]


def sign_in_place(grad, mask, eps):
    return grad.sign_() * at(mask) * eps


def ball_in_place(grad, mask, eps):
    grad *= at(mask)
    return ball_by_normalize(grad, mask, eps)


def ball_with(norm, early=True):
    """An answer to 03.2 from a norm; early: the mask comes before it."""

    def answer(grad, mask, eps):
        g = grad * at(mask) if early else grad
        return eps * g / norm(g).clamp_min(1e-30) * at(mask)

    return answer


def ball_naive(grad, mask, eps):
    g = grad * at(mask)
    return eps * g / g.norm(dim=(1, 2), keepdim=True)


def ball_padded(grad, mask, eps):
    g = grad * at(mask)
    return eps * g / (g.norm(dim=(1, 2), keepdim=True) + 1e-8)


def ball_with_threshold(grad, mask, eps):
    small = (grad * at(mask)).flatten(1).norm(dim=1) < 1e-5
    return ball_by_normalize(grad, mask, eps) * ~small[:, None, None]


def ball_inside(grad, mask, eps):
    return 0.9 * ball_by_normalize(grad, mask, eps)


def sized(noise, delta, dims=(1, 2)):
    size, wanted = (torch.linalg.vector_norm(t, dim=dims, keepdim=True) for t in (noise, delta))
    return noise / torch.where(size > 0, size, 1) * wanted


def normal(delta, generator):
    return torch.randn(delta.shape, generator=generator)


def noise_uniform(delta, mask, generator):
    return sized((2 * torch.rand(delta.shape, generator=generator) - 1) * at(mask), delta)


def noise_positive(delta, mask, generator):
    return sized(torch.rand(delta.shape, generator=generator) * at(mask), delta)


def noise_signs(delta, mask, generator):
    return sized(normal(delta, generator).sign() * at(mask), delta)


def noise_flips(delta, mask, generator):
    return delta * normal(delta, generator).sign()


def noise_scaled(delta, mask, generator):
    return sized(delta.abs() * normal(delta, generator), delta)


def noise_shared(delta, mask, generator):
    one = torch.randn(delta.shape[1:], generator=generator)
    return sized(one * at(mask), delta)


def noise_reseeded(delta, mask, generator):
    return noise_uniform_free(delta, mask, generator.manual_seed(0))


def noise_uniform_free(delta, mask, generator):
    return sized(normal(delta, generator) * at(mask), delta)


def noise_in_place(delta, mask, generator):
    noise = noise_uniform_free(delta, mask, generator)
    delta.copy_(noise)
    return delta


def noise_token(delta, mask, generator):
    return sized(normal(delta, generator) * at(mask), delta, dims=2)


def noise_equal_tokens(delta, mask, generator):
    noise = F.normalize(normal(delta, generator), dim=2) * at(mask)
    return sized(noise, delta)


def noise_where_delta_is(delta, mask, generator):
    return sized(normal(delta, generator) * (delta != 0), delta)


def noise_orthogonal(delta, mask, generator):
    noise = normal(delta, generator) * at(mask)
    size = delta.norm(dim=(1, 2), keepdim=True).clamp_min(1e-12)
    noise = noise - (noise * delta).sum((1, 2), keepdim=True) / size**2 * delta
    return sized(noise, delta)


def noise_leaning(delta, mask, generator):
    return sized(normal(delta, generator) * at(mask) + 0.15 * delta, delta)


def noise_of_random_length(delta, mask, generator):
    factor = torch.rand(len(delta), 1, 1, generator=generator)
    return factor * noise_uniform_free(delta, mask, generator)


def noise_same_at_every(dim):
    """An answer to 03.3 whose noise is the same all along one dimension."""

    def answer(delta, mask, generator):
        shape = list(delta.shape)
        shape[dim] = 1
        return sized(torch.randn(shape, generator=generator) * at(mask) * (0 * delta + 1), delta)

    return answer


def noise_abs(delta, mask, generator):
    return sized(normal(delta, generator).abs() * at(mask), delta)


def changed(change):
    """An answer to 03.4 from right predicted and actual."""
    return lambda model, batch, delta: change(*forecast_by_gradient(model, batch, delta))


def forecast_from(predicted):
    def answer(model, batch, delta):
        return predicted(model, batch, delta), forecast_by_gradient(model, batch, delta)[1]

    return answer


def start_of(model, batch, delta):
    return loss_of(model, batch, 0 * delta).detach()


def forecast_backward(model, batch, delta):
    zero = torch.zeros_like(delta).requires_grad_()
    loss_of(model, batch, zero, "sum").backward()
    return (zero.grad * delta).sum((1, 2)), forecast_by_gradient(model, batch, delta)[1]


def forecast_attached(model, batch, delta):
    predicted, _ = forecast_by_gradient(model, batch, delta)
    return predicted, loss_of(model, batch, delta) - loss_of(model, batch, 0 * delta)


def forecast_in_train_mode(model, batch, delta):
    model.train()
    return forecast_by_gradient(model, batch, delta)


def forecast_of_margin(model, batch, delta):
    def margin(d):
        return wrong_margin(perturbed_logits(model, batch, d), batch["labels"])

    with torch.no_grad():
        actual = margin(delta) - margin(0 * delta)
    return forecast_by_gradient(model, batch, delta)[0], actual


def slope_of(function):
    """The slope at zero along delta of a function of logits and batch, (batch,)."""

    def predicted(model, batch, delta):
        zero = torch.zeros_like(delta).requires_grad_()
        values = function(perturbed_logits(model, batch, zero), batch)
        return (torch.autograd.grad(values.sum(), zero)[0] * delta).sum((1, 2))

    return predicted


def both_of(function):
    """An answer to 03.4 that forecasts and measures another function than the loss."""

    def answer(model, batch, delta):
        with torch.no_grad():
            ends = [function(perturbed_logits(model, batch, d), batch) for d in (0 * delta, delta)]
        return slope_of(function)(model, batch, delta), ends[1] - ends[0]

    return answer


def log_odds(logits, batch):
    return wrong_margin(logits, batch["labels"])


def own_label_loss(logits, batch):
    return F.cross_entropy(logits, logits.argmax(1), reduction="none")


def along_fgm(model, batch, delta):
    grad = zero_slope(model, batch, delta)
    step = ball_by_normalize(grad, attackable(batch), 1.0) * delta.norm(dim=(1, 2), keepdim=True)
    return (grad * step).sum((1, 2))


def cosine_of(model, batch, delta):
    return F.cosine_similarity(zero_slope(model, batch, delta).flatten(1), delta.flatten(1))


def mean_slope(model, batch, delta):
    grad = (zero_slope(model, batch, delta) + slope_at(model, batch, delta)) / 2
    return (grad * delta).sum((1, 2))


def small_difference(model, batch, delta):
    ends = [loss_of(model, batch, h * delta).detach() for h in (0.0, 0.01)]
    return (ends[1] - ends[0]) / 0.01


def forecast_of_the_page(model, batch, delta):
    return forecast_by_gradient(advlib.load_classifier("reviews-clean").model, batch, delta)


def forecast_from_none(model, batch, delta):
    return slope_at(model, batch, None), None


def zero_slope(model, batch, delta):
    return slope_at(model, batch, torch.zeros_like(delta))


def away(e, w):
    return torch.cdist(e, w)


def without_zero(e, w, k):
    distances = away(e, w)
    return distances.masked_fill(distances < 1e-6, torch.inf).topk(k, largest=False).indices


def from_first_to_last(step):
    """An answer to 03.1 or 03.2 that takes words for neighbours."""

    def answer(grad, mask, eps):
        whole = mask.cumsum(1).bool() & mask.flip(1).cumsum(1).flip(1).bool()
        return step(grad, whole, eps)

    return answer


def tracked(step):
    """An answer that switches the gradient of its first input on."""
    return lambda first, *rest: step(first.requires_grad_().detach(), *rest)


def noise_from_a_seed(delta, mask, generator):
    torch.manual_seed(int(torch.randint(1000, (1,), generator=generator)))
    return noise_uniform_free(delta, mask, None)


def forecast_after(change, tidy=None):
    """An answer to 03.4 that does something to the model or the batch, and perhaps undoes it."""

    def answer(model, batch, delta):
        kept = change(model, batch)
        result = forecast_by_gradient(model, batch, delta)
        if tidy:
            tidy(model, kept)
        return result

    return answer


def to_eval(model, batch):
    mode = model.training
    model.eval()
    return mode


WRONG = [
    ("03.1", lambda g, m, e: sign_by_where(g.double(), m, e), "a model takes no other"),
    ("03.1", from_first_to_last(sign_by_where), "not as expected"),
    ("03.1", tracked(sign_by_where), "requires_grad of `grad`"),
    ("03.2", lambda g, m, e: ball_by_normalize(g.double(), m, e), "a model takes no other"),
    ("03.2", from_first_to_last(ball_by_normalize), "not as expected"),
    ("03.2", ball_with(lambda g: g.norm(dim=(1, 2), keepdim=True).clamp_min(1e-9)), "least norm"),
    ("03.3", tracked(noise_in_double), "requires_grad of `delta`"),
    ("03.3", noise_from_a_seed, "global generator"),
    ("03.3", lambda d, m, g: noise_uniform_free(d, m, g) / 2, "lengths of the noise"),
    ("03.3", lambda d, m, g: sized(normal(d, g) ** 3 * at(m), d), "fourth moment"),
    ("03.4", changed(lambda p, a: (p.squeeze(), a.squeeze())), "shape"),
    ("03.4", forecast_after(to_eval, lambda model, mode: model.train(mode)), "another mode"),
    ("03.4", forecast_after(lambda m, b: m.zero_grad()), r"changes the \.grad"),
    ("03.4", forecast_after(lambda m, b: m.requires_grad_(True)), "the flag that it had"),
    ("03.4", forecast_after(lambda m, b: b.pop("labels")), "takes 'labels' out"),
    ("03.5", tracked(nearest_by_differences), "requires_grad of `embedded`"),
    ("03.1", lambda g, m, e: e * g.sign(), "mask is forgotten"),
    ("03.1", lambda g, m, e: -sign_by_where(g, m, e), "wrong sign"),
    ("03.1", lambda g, m, e: sign_by_where(g, m, 1.0), "eps is missing"),
    ("03.1", lambda g, m, e: e * g * at(m), "sign is missing"),
    ("03.1", ball_by_normalize, "L2 ball"),
    ("03.1", lambda g, m, e: torch.where(g > 0, e, -e) * at(m), "nothing to gain"),
    ("03.1", lambda g, m, e: torch.where(g >= 0, e, -e) * at(m), "nothing to gain"),
    ("03.1", lambda g, m, e: e * g.sign() * ~at(m), "wrong way round"),
    ("03.1", lambda g, m, e: sign_by_where(g, m, e) / m.sum(1)[:, None, None], "spread"),
    ("03.1", lambda g, m, e: (e * g.sign() * at(m)).flatten(1), "shape"),
    ("03.1", lambda g, m, e: g, "gradient itself"),
    ("03.1", sign_in_place, "in place"),
    ("03.1", lambda g, m, e: None, "return"),
    ("03.1", lambda g, m, e: 0.03 * g.sign() * at(m), "radius itself"),
    ("03.1", lambda g, m, e: sign_by_where(g, m, e * 1.42 / g.shape[-1] ** 0.5), "no `unit`"),
    ("03.1", lambda g, m, e: sign_by_where(g, m, e / g.shape[-1] ** 0.5), "hidden"),
    ("03.1", lambda g, m, e: e * g / g.abs().clamp_min(1e-7) * at(m), "taken for none"),
    ("03.1", lambda g, m, e: e * g / (g.abs() + 1e-8) * at(m), "taken for none"),
    ("03.1", lambda g, m, e: e * torch.where(g.abs() < 1e-8, 0.0, g.sign()) * at(m),
     "taken for none"),
    ("03.2", lambda g, m, e: ball_by_normalize(g, torch.ones_like(m), e), "mask is forgotten"),
    ("03.2", ball_with(lambda g: g.norm(dim=(1, 2), keepdim=True), early=False),
     "after the normalisation"),
    ("03.2", ball_with(lambda g: g.norm()), "whole batch"),
    ("03.2", ball_with(lambda g: g.norm(), early=False), "whole batch"),
    ("03.2", ball_with(lambda g: g.norm(dim=2, keepdim=True)), "per token"),
    ("03.2", ball_with(lambda g: g.norm(dim=1, keepdim=True)), "per coordinate"),
    ("03.2", ball_with(lambda g: g.square().sum((1, 2), keepdim=True)), "squared"),
    ("03.2", ball_with(lambda g: g.abs().sum((1, 2), keepdim=True)), "L1 norm"),
    ("03.2", ball_with(lambda g: g.abs().amax((1, 2), keepdim=True)), "largest coordinate"),
    ("03.2", lambda g, m, e: -ball_by_normalize(g, m, e), "wrong sign"),
    ("03.2", lambda g, m, e: ball_by_normalize(g, m, 1.0), "eps is missing"),
    ("03.2", sign_by_where, "sign step"),
    ("03.2", lambda g, m, e: ball_by_normalize(g.sign(), m, e), "own proportions"),
    ("03.2", lambda g, m, e: e * g * at(m), "not normalised"),
    ("03.2", ball_naive, "0/0"),
    ("03.2", ball_padded, "constant added"),
    ("03.2", ball_with_threshold, "taken for none"),
    ("03.2", ball_inside, "lengths of delta"),
    ("03.2", ball_in_place, "in place"),
    ("03.2", lambda g, m, e: ball_by_normalize(g, m, e)[0], "shape"),
    ("03.2", lambda g, m, e: ball_by_normalize(g, m, 0.3), "lengths of delta"),
    ("03.2", lambda g, m, e: None, "return"),
    ("03.3", noise_uniform, "not uniform"),
    ("03.3", noise_positive, "torch.randn"),
    ("03.3", noise_signs, "not uniform"),
    ("03.3", noise_flips, "only the signs"),
    ("03.3", noise_scaled, "delta's own sizes"),
    ("03.3", noise_shared, "one text"),
    ("03.3", lambda d, m, g: sized(normal(d, g), d), "mask is forgotten"),
    ("03.3", lambda d, m, g: sized(normal(d, g), d) * at(m), "after the normalisation"),
    ("03.3", lambda d, m, g: sized(normal(d, g) * at(m), d, (0, 1, 2)), "whole batch"),
    ("03.3", noise_token, "per token"),
    ("03.3", noise_equal_tokens, "per token"),
    ("03.3", lambda d, m, g: normal(d, g) * at(m), "not normalised"),
    ("03.3", lambda d, m, g: sized(normal(d, g) * at(m), 0 * d + 1) / (0 * d + 1)[:1].norm(),
     "length 1"),
    ("03.3", lambda d, m, g: sized(torch.randn(d.shape) * at(m), d), "global generator"),
    ("03.3", noise_reseeded, "generator"),
    ("03.3", noise_by_norms, "0/0"),
    ("03.3", noise_in_place, "in place"),
    ("03.3", lambda d, m, g: d, "nothing is random"),
    ("03.3", noise_where_delta_is, "only the mask says"),
    ("03.3", noise_orthogonal, "right angle"),
    ("03.3", noise_leaning, "delta is still in it"),
    ("03.3", noise_of_random_length, "draw nothing for the length"),
    ("03.3", noise_same_at_every(1), "once per text"),
    ("03.3", noise_same_at_every(2), "one number drawn per token"),
    ("03.3", noise_abs, "drops the sign"),
    ("03.3", lambda d, m, g: None, "return"),
    ("03.4", changed(lambda p, a: (a, p)), "changed places"),
    ("03.4", changed(lambda p, a: (-p, a)), "wrong sign"),
    ("03.4", changed(lambda p, a: (p, -a)), "wrong sign"),
    ("03.4", changed(lambda p, a: (p.sum(), a)), "summed over the batch"),
    ("03.4", changed(lambda p, a: (p, a.mean())), "mean over the batch"),
    ("03.4", changed(lambda p, a: (p / len(p), a)), "averaged over the batch"),
    ("03.4", changed(lambda p, a: (p, p)), "forward pass"),
    ("03.4", changed(lambda p, a: (p.abs(), a)), "absolute"),
    ("03.4", changed(lambda p, a: p), "two things"),
    ("03.4", forecast_from(lambda m, b, d: (slope_at(m, b, d) * d).sum((1, 2))), "taken at delta"),
    ("03.4", forecast_from(lambda m, b, d: zero_slope(m, b, d).flatten(1).norm(dim=1)
                           * d.flatten(1).norm(dim=1)), "most that a delta"),
    ("03.4", forecast_from(lambda m, b, d: (zero_slope(m, b, d) * d).sum(2)), "per token"),
    ("03.4", forecast_from(lambda m, b, d: zero_slope(m, b, d) * d), "not summed"),
    ("03.4", forecast_from(lambda m, b, d: (zero_slope(m, b, d) * d).mean((1, 2))), "averaged"),
    ("03.4", forecast_from(lambda m, b, d: start_of(m, b, d)
                           + (zero_slope(m, b, d) * d).sum((1, 2))), "loss at zero"),
    ("03.4", lambda m, b, d: (forecast_by_gradient(m, b, d)[0], loss_of(m, b, d).detach()),
     "loss at delta"),
    ("03.4", forecast_backward, "backward"),
    ("03.4", forecast_attached, "graph"),
    ("03.4", forecast_in_train_mode, "mode"),
    ("03.4", forecast_of_margin, "actual.*\n.*log-odds"),
    ("03.4", both_of(log_odds), "predicted.*\n.*log-odds"),
    ("03.4", both_of(own_label_loss), "model's own label"),
    ("03.4", both_of(lambda z, b: z.softmax(1)[range(len(z)), b["labels"]]), "probability"),
    ("03.4", forecast_from(along_fgm), "FGM step"),
    ("03.4", forecast_from(cosine_of), "cosine"),
    ("03.4", forecast_from(mean_slope), "mean of the gradients"),
    ("03.4", forecast_from(small_difference), "gradient at zero itself"),
    ("03.4", forecast_of_the_page, "`model` that you are given"),
    ("03.4", forecast_from_none, "delta of zeros"),
    ("03.5", lambda e, w, k: away(e, w).topk(k).indices, "farthest"),
    ("03.5", lambda e, w, k: nearest_by_differences(e, w, k).flip(1), "order"),
    ("03.5", lambda e, w, k: nearest_by_differences(e, w, k + 1)[:, 1:], "left out"),
    ("03.5", lambda e, w, k: (e @ w.T).topk(k).indices, "dot product"),
    ("03.5", lambda e, w, k: (F.normalize(e, dim=1) @ F.normalize(w, dim=1).T).topk(k).indices,
     "cosine"),
    ("03.5", lambda e, w, k: torch.cdist(e, w, p=1).topk(k, largest=False).indices, "L1"),
    ("03.5", lambda e, w, k: away(e, w).topk(k, largest=False).values, "distances"),
    ("03.5", lambda e, w, k: away(e, w).topk(k, largest=False), "take `.indices`"),
    ("03.5", lambda e, w, k: nearest_by_differences(e, w, k).sort(1)[0], "not nearest first"),
    ("03.5", lambda e, w, k: away(e, w).argmin(1)[:, None].repeat(1, k), "k times over"),
    ("03.5", lambda e, w, k: w[nearest_by_differences(e, w, k)], "vectors"),
    ("03.5", without_zero, "distance 0 is left out"),
    ("03.5", lambda e, w, k: away(e, w).argsort(1), "all words"),
    ("03.5", lambda e, w, k: nearest_by_differences(e, w, k).squeeze(), "shape"),
    ("03.5", lambda e, w, k: away(w, e).argsort(1)[:, :k], "other way round"),
    ("03.5", lambda e, w, k: away(e, w).sum(0).argsort()[:k], "one list"),
    ("03.5", lambda e, w, k: away(e, w).argmin(1), "one word per token"),
    ("03.5", lambda e, w, k: nearest_by_differences(e, w, k).double(), "whole numbers"),
    ("03.5", lambda e, w, k: nearest_by_differences(e.sub_(0), w.mul_(1.1), k), "in place"),
    ("03.5", lambda e, w, k: None, "return"),
]  # fmt: skip
