"""What must come out on the page of lesson 17."""

from course.claims import Claim


def blind_everywhere(lengths):
    """Whether the hidden surge is slower than calm news at every threshold, where both are seen."""
    pairs = list(zip(lengths["hidden"], lengths["calm"], strict=True))
    return all(a > b for a, b in pairs if b < 2000) and lengths["open"][-1] < lengths["calm"][-1]


def covers(found):
    """Whether each defence covers what the other leaves open."""
    plain, both = found["news-clean"], found["news-clean + near misses"]
    trained = found["news-robust + near misses"]
    return (
        all(350 < row["no surge"][0] < 750 for row in found.values())
        and plain["as it is"][0] < 40 and plain["slips"][1] > 0.5
        and both["slips"][1] < 0.02 and both["slips"][0] < 40
        and both["known words"][0] > 4 * both["as it is"][0]
        and both["known words"][0] > 1.1 * plain["known words"][0]
        and trained["known words"][0] < 0.5 * both["known words"][0]
        and trained["slips"][0] < 60
    )  # fmt: skip


def evaded(found, unnoticed):
    """Whether two slips, and not any two, take about as long as no surge does, or longer."""
    for name, (seen, misses) in unnoticed["chosen"].items():
        row = found[f"{name} + near misses"]
        if misses > 0.02 or seen > unnoticed["random"][name][0] - 0.3:
            return False
        if row["two slips"][0] < 0.85 * row["no surge"][0]:
            return False
    return True


CLAIMS = {
    "17.sensor": Claim(
        "The topic is always right, the sensor sees nine in ten bad headlines, and calls few "
        "others bad.",
        lambda topics_right, hit, false: topics_right > 0.99 and hit > 0.9 and false < 0.06,
    ),
    "17.charts": Claim(
        "The CUSUM is that of the library to the last digits, and the formula for the variance of "
        "the EWMA agrees with the simulation.",
        lambda apart, formula, simulated: apart < 1e-9 and abs(simulated / formula - 1) < 0.2,
    ),
    "17.ewma": Claim(
        "The EWMA is that of the library to the last digits, and the formula for its variance "
        "agrees with the simulation.",
        lambda apart, formula, simulated: apart < 1e-9
        and all(abs(s / f - 1) < 0.2 for f, s in zip(formula, simulated, strict=True)),
    ),
    "17.promise": Claim(
        "On fresh streams both charts keep the promise within 15 %, three standard deviations keep "
        "another one, and two points more of bad news in calm times cost a good part of it.",
        lambda promised, sigma3, more: all(425 < value < 575 for value in promised.values())
        and sigma3 > 650 and all(more[name] < 0.85 * promised[name] for name in promised),
    ),
    "17.delay": Claim(
        "Both charts see the open surge within some twenty stories, in every run, and the mean of "
        "the CUSUM is near h / drift.",
        lambda found, theory: 0.75 < found["CUSUM"][0] / theory < 1.3
        and all(8 < median < 32 and never == 0 for _, median, never in found.values()),
    ),
    "17.wary": Claim(
        "The upper end for p0 is a promise about ten times as long, and most of the delay comes "
        "from that.",
        lambda kept, cost, between: 7 < kept / between < 15 and cost[2] > 1.4 * cost[0]
        and cost[1] - cost[0] > 0.5 * (cost[2] - cost[0]),
    ),
    "17.copies": Claim(
        "Where 30 % of the stories are copies, false alarms come clearly more often than promised, "
        "and counting once gives most of the promise back. Most copies are found, and few other "
        "stories are taken for one.",
        lambda told, once, promised, found, wrongly: found > 0.8 and wrongly < 0.08
        and all(told[n] < 0.75 * promised[n] and 0.65 * promised[n] < once[n] for n in told),
    ),
    "17.hidden": Claim(
        "In the hidden surge the sensor calls fewer stories bad than in calm times, and most runs "
        "never see an alarm. With half of it disguised the alarm comes, later.",
        lambda p0, rate, hidden: rate < p0
        and all(hidden[name, 1.0][2] > 0.5 and hidden[name, 0.5][0] > 1.2 * hidden[name, 0.0][0]
                for name in ("CUSUM", "EWMA")),
    ),
    "17.blind": Claim(
        "At every threshold the hidden surge takes longer to raise an alarm than calm news.",
        blind_everywhere,
    ),
    "17.either": Claim(
        "A chart that waits for a rise and for a fall sees the surge that is hidden whole, later "
        "than the open one. Where the rate stays at p0, it takes about as long as in calm times.",
        lambda found: 400 < found[0][0] < 600 and found[1][1] < 40 and found[2][2] < 0.05
        and found[1][1] < found[2][1] < 250 and 0.75 < found[3][0] / found[0][0] < 1.33,
    ),
    "17.flood": Claim(
        "One harmless story for each makes the alarm several times later; three for each hide the "
        "surge in most runs for a long time.",
        lambda flooded, p0: flooded[1][0] > 2 * flooded[0][0] and flooded[3][0] > 300,
    ),
    "17.fakes": Claim(
        "At most eight fakes raise the alarm of one in 500, and a promise that is 25 times as long "
        "takes less than four times the fakes. The longer the promise, the later the true alarm. "
        "With three calm stories after each fake more are needed, and with thirty a good part of "
        "the streams without any fake have an alarm as soon.",
        lambda fakes, soon, spread, by_chance: by_chance[0] < 0.02 and by_chance[30] > 0.2
        and fakes[500] == spread[0] < spread[3] <= spread[10] <= 20
        and fakes[500] <= 8 and fakes[100] <= fakes[500] <= fakes[2500]
        < 4 * fakes[100] and soon[100] < soon[500] < soon[2500],
    ),
    "17.robust": Claim(
        "Random slips cost the plain sensor far less than chosen ones. The trained sensor sees "
        "clearly more of what known words disguise; chosen slips stay the harder attack for both.",
        lambda seen, false: seen["news-clean"]["random slips"] > seen["news-clean"]["slips"] + 0.2
        and seen["news-robust"]["known words"] > seen["news-clean"]["known words"] + 0.08
        and all(row["slips"] < row["known words"] for row in seen.values())
        and max(false.values()) < 0.15,
    ),
    "17.traces": Claim(
        "Near misses are rare in calm times and frequent in headlines that slips disguise; known "
        "words leave none. A test that knows swaps alone misses most slips.",
        lambda q0, traces, swaps: q0 < 0.06 and traces["slips"] > 0.5
        and traces["known words"] < 0.05 and swaps < 0.6 * traces["slips"],
    ),
    "17.joint": Claim(
        "Two charts that each keep the promise break it together; at twice as many stories each "
        "they keep it.",
        lambda joint, between: joint[1] < 0.7 * between and joint[2] > 0.85 * between,
    ),
    "17.together": Claim(
        "The plain sensor alone misses the surge that slips hide; near misses uncover it and do "
        "harm against known words; with the trained sensor both are seen, at the same promise.",
        covers,
    ),
    "17.evaded": Claim(
        "Two slips in a word, chosen by somebody who knows the second chart, leave no near miss, "
        "and with both charts the alarm takes about as long as without a surge, or longer, even "
        "where no topic is lost. Slips of the same kind at random hide far less.",
        evaded,
    ),
    "17.unknown": Claim(
        "In this world the trained sensor and a chart of any unknown word see the surge soon, "
        "however it is hidden on this page.",
        lambda found: all(mean < 60 and never < 0.02 for how, (mean, never) in found.items()
                          if how != "no surge") and 350 < found["no surge"][0] < 750,
    ),
    "17.tests": Claim(
        "The library finds a short word of which a longer one was meant, the exercise's rule does "
        "not, and a word of two letters passes both.",
        lambda yours, theirs: yours == [] and theirs == ["fll"],
    ),
}  # fmt: skip
