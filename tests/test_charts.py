"""Charts, thresholds, near misses and near-duplicates, each against something independent."""

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import brentq

from advlib.systems import charts
from advlib.systems.charts import Cusum, Ewma, NearMiss


def test_cusum_is_the_maximum_over_all_change_points():
    chart, rng = Cusum(0.1, 0.3), np.random.default_rng(0)
    for p in (0.05, 0.2, 0.6):
        x = (rng.random(80) < p).astype(float)
        ratio = np.where(x > 0, math.log(0.3 / 0.1), math.log(0.7 / 0.9))
        found = charts.path(chart, x)
        for n in range(1, 81):
            explicit = max(0.0, *(ratio[k:n].sum() for k in range(n)))
            assert found[n - 1] == pytest.approx(explicit, abs=1e-9)


def test_ewma_is_the_weighted_sum():
    chart, x = Ewma(0.2, lam=0.1), np.random.default_rng(1).random(50) < 0.3
    weights = 0.1 * 0.9 ** np.arange(49, -1, -1)
    assert charts.path(chart, x)[-1] == pytest.approx(weights @ x + 0.9**50 * 0.2)


@pytest.mark.parametrize("p, lam", [(0.1, 0.02), (0.3, 0.1), (0.5, 0.5)])
def test_ewma_variance(p, lam):
    chart = Ewma(p, lam)
    x = np.random.default_rng(2).random((4000, math.ceil(6 / lam))) < p
    last = charts.path(chart, x)[:, -1]
    assert last.var() == pytest.approx(chart.variance, rel=0.1)
    # Exactly, for λ = 1: the last item alone.
    assert Ewma(p, 1.0).variance == pytest.approx(p * (1 - p))


def average_run_length(
    chart, threshold: float, p: float, runs: int = 1000, seed: int = 0, longest: int = 10**5
) -> float:
    """Mean number of items until the alarm where each item is 1 with probability p, simulated.

    At p = p0 this is the number of items between false alarms. Runs that are longer than `longest`
    are cut off there, and the mean is items seen / alarms seen: right where the time left does not
    depend on the time waited, which holds well for long runs. inf where there was no alarm.
    """
    rng = np.random.default_rng(seed)
    s = np.full(runs, chart.start)
    seen = 0
    for _ in range(longest):
        if not s.size:
            break
        seen += s.size
        s = chart.step(s, rng.random(s.size) < p)
        s = s[s < threshold]
    alarms = runs - s.size
    return seen / alarms if alarms else math.inf


def exact_run_length(up: int, down: int, threshold: int, p: float) -> float:
    """Mean number of items until S = max(0, S + up or S − down) reaches the threshold: exact.

    With whole steps S takes the values 0 … threshold − 1 and is a Markov chain. If L[s] is the mean
    number of items from s on, L[s] = 1 + p·L[s + up] + (1 − p)·L[max(0, s − down)], with 0 beyond
    the threshold: linear equations. So a CUSUM whose log p1/p0 and log (1−p1)/(1−p0) are multiples
    of one number is known without simulation.
    """
    system = np.eye(threshold)
    for s in range(threshold):
        system[s, max(0, s - down)] -= 1 - p
        if s + up < threshold:
            system[s, s + up] -= p
    return float(np.linalg.solve(system, np.ones(threshold))[0])


def rational(p0: float, m: int) -> Cusum:
    """The CUSUM whose step up is m steps down."""
    def off(p1):
        return math.log(p1 / p0) + m * math.log((1 - p1) / (1 - p0))

    return Cusum(p0, brentq(off, p0 * 1.001, 1 - 1e-9))


@pytest.mark.parametrize("p0, m, threshold", [(0.1, 5, 17), (0.2, 3, 20), (0.05, 10, 28)])
def test_simulated_run_length_is_the_exact_one(p0, m, threshold):
    chart = rational(p0, m)
    unit = -chart.down
    assert chart.up == pytest.approx(m * unit)
    for p in (p0, chart.p1):
        exact = exact_run_length(m, 1, threshold, p)
        # Half a unit below, where rounding cannot matter.
        found = average_run_length(chart, (threshold - 0.5) * unit, p, runs=2000, seed=3)
        assert found == pytest.approx(exact, rel=0.08)


def test_exact_run_length_by_hand():
    # One hit is enough: the mean of a geometric distribution.
    assert exact_run_length(1, 1, 1, 0.2) == pytest.approx(5)
    # Two hits in a row, for a miss takes away what a hit gave: (1 + p) / p².
    assert exact_run_length(1, 1, 2, 0.5) == pytest.approx(6)
    # Cut off: the mean is items seen / alarms seen, and not the mean of the cut-off runs.
    sure = exact_run_length(5, 1, 17, 0.1)
    chart = rational(0.1, 5)
    found = average_run_length(chart, -16.5 * chart.down, 0.1, runs=3000, longest=int(sure))
    assert found == pytest.approx(sure, rel=0.1)


@pytest.mark.parametrize("chart", [Cusum(0.1, 0.3), Ewma(0.1, 0.05), Cusum(0.02, 0.1)])
def test_calibrated_threshold_on_fresh_streams(chart):
    threshold = charts.calibrate(chart, chart.p0, between=500)
    found = average_run_length(chart, threshold, chart.p0, runs=1500, seed=99)
    assert 0.9 * 500 < found < 1.25 * 500  # at least; heights are steps, so it may be more


def test_calibrated_threshold_is_the_lowest_lattice_point():
    chart = rational(0.1, 5)
    exact = [exact_run_length(5, 1, h, 0.1) for h in range(1, 60)]
    wanted = next(h for h, mean in enumerate(exact, 1) if mean >= 480)
    threshold = charts.calibrate(chart, 0.1, between=480, runs=4000)
    assert math.ceil(threshold / -chart.down - 1e-9) in (wanted - 1, wanted, wanted + 1)
    assert exact_run_length(5, 1, math.ceil(threshold / -chart.down), 0.1) > 0.93 * 480


def test_two_charts_at_twice_the_run_length_keep_the_joint_rate():
    """Bonferroni, also where the two are not independent."""
    rng, between = np.random.default_rng(5), 300
    one, two = Cusum(0.1, 0.3), Ewma(0.1, 0.05)
    h = [charts.calibrate(c, 0.1, 2 * between) for c in (one, two)]
    x = rng.random((600, 8 * between)) < 0.1
    first = np.minimum(*(charts.delays(charts.path(c, x), t)
                         for c, t in zip((one, two), h, strict=True)))  # fmt: skip
    seen, alarms = np.minimum(first, x.shape[1]).sum(), np.isfinite(first).sum()
    assert seen / alarms > 0.95 * between


def test_delays_say_where_there_was_no_alarm():
    found = charts.delays(np.array([[0.0, 1, 2], [0, 0, 0], [3, 0, 0]]), 1.0)
    assert found.tolist() == [2, math.inf, 1]


def test_fakes_needed():
    chart = Cusum(0.1, 0.3)
    for h in (0.5, 1.0, 2.7, 5.1):
        for at in (0.0, 0.4):
            wanted = max(0, math.ceil((h - at) / math.log(3)))
            assert charts.fakes_needed(chart, h, at) == wanted
            x = np.ones(wanted)
            assert wanted == 0 or at + x.sum() * chart.up >= h > at + (wanted - 1) * chart.up
    assert charts.fakes_needed(Cusum(0.1, 0.3), 3 * chart.up) == 3  # a whole multiple
    slow = Ewma(0.1, 0.1)
    assert charts.fakes_needed(slow, 0.5) == math.ceil(math.log(0.5 / 0.9) / math.log(0.9))
    with pytest.raises(ValueError, match="no number of items"):
        charts.fakes_needed(slow, 1.0)


@pytest.mark.parametrize("make", [
    lambda: Cusum(0.3, 0.1), lambda: Cusum(0.0, 0.1), lambda: Cusum(0.1, 1.0),
    lambda: Ewma(0.0), lambda: Ewma(0.1, 0.0), lambda: Ewma(0.1, 1.5),
    lambda: charts.calibrate(Cusum(0.1, 0.3), 0.1, 0),
    lambda: charts.calibrate(Cusum(1e-9, 0.3), 1e-9, 10),
    lambda: NearMiss({"profit"}, slips=("sawp",)),
])  # fmt: skip
def test_what_makes_no_sense_is_refused(make):
    with pytest.raises(ValueError):
        make()


def test_near_misses_are_the_slips_of_known_words():
    known = {"profit", "fell"}
    every = NearMiss(known, slips=("swap", "insert", "drop", "key"))
    for text, slip in {"proift": "swap", "proofit": "insert", "proft": "drop",
                       "prodit": "key"}.items():
        assert NearMiss(known, (slip,))(text) and every(f"The {text.upper()} of Aino fell.")
        others = [s for s in every.slips if s != slip]
        assert not NearMiss(known, tuple(others))(text)
    assert not every("Profit fell at Nokia, 12 % down; dividends rose.")
    assert every.meant("proift") == "profit" and every.meant("profit") is None
    assert NearMiss({"rose"}, ("drop",)).misses("rse ros the") == ["rse", "ros"]
    assert every.misses("proift profit teh flel") == ["proift", "flel"]  # "teh" is too short


def test_near_miss_against_the_distance_of_two_words():
    """All words of up to 4 letters over {a, b, c}: at a distance of 1 (with swaps) or not."""
    def near(v, w):
        if len(v) == len(w):
            differ = [i for i in range(len(v)) if v[i] != w[i]]
            swapped = (len(differ) == 2 and differ[1] == differ[0] + 1
                       and v[differ[0]] == w[differ[1]] and v[differ[1]] == w[differ[0]])
            return len(differ) == 1 or swapped
        short, long = sorted((v, w), key=len)
        return len(long) - len(short) == 1 and any(
            long[:i] + long[i + 1 :] == short for i in range(len(long)))

    watch = NearMiss({"abca"}, ("swap", "insert", "drop", "key"), shortest=1)
    for n in range(1, 6):
        for letters in itertools.product("abc", repeat=n):
            word = "".join(letters)
            assert watch(word) == (word != "abca" and near("abca", word)), word


def test_minhash_estimates_resemblance():
    a = "profit of the second quarter rose to twelve million euro at the company"
    b = "profit of the second quarter rose to thirteen million dollars at the company"
    true = charts.resemblance(a, b)
    agree = (charts.minhash(a, 4000) == charts.minhash(b, 4000)).mean()
    assert true == pytest.approx(10 / 14) and agree == pytest.approx(true, abs=0.04)
    assert charts.resemblance(a, a) == charts.resemblance("", "!") == 1


def test_duplicates_are_found_through_the_index():
    stories = ["profit at Aino fell sharply in the second quarter",
               "a new mine opens in Lapland after ten years of talks",
               "profit at Aino dropped sharply in the second quarter",
               "the bank of Turku names a new head of trading today"]  # fmt: skip
    assert charts.duplicates(stories) == [0, 1, 0, 3]
    assert charts.duplicates([]) == []
    assert len(charts.near_duplicate_keys(stories[0])) == 20


def test_other_numbers_and_other_names_are_other_stories():
    text = "Profit at Aino fell by 12 percent in the second quarter"
    assert charts.near_duplicate(text, text.replace("fell", "dropped"))
    assert not charts.near_duplicate(text, text.replace("12", "13"))
    assert not charts.near_duplicate(text, text.replace("Aino", "Nokia"))
    assert not charts.near_duplicate(text, text.replace("Profit", "Earnings"))  # a name, perhaps
    known = frozenset({"profit", "earnings"})
    assert charts.near_duplicate(text, text.replace("Profit", "Earnings"), common=known)


@pytest.mark.parametrize("r, shared", [(0.5, 0.93), (0.2, 0.15)])
def test_keys_are_shared_as_often_as_is_said(r, shared):
    rng, n = np.random.default_rng(4), 400
    both = round(50 * r)
    hits = 0
    for _ in range(n):
        words = [f"w{k}" for k in rng.choice(10**6, 50, replace=False)]
        cut = both + (50 - both) // 2
        one, other = words[:cut], words[:both] + words[cut:]
        hits += not set(charts.near_duplicate_keys(" ".join(one))).isdisjoint(
            charts.near_duplicate_keys(" ".join(other)))
    assert hits / n == pytest.approx(shared, abs=0.06)
