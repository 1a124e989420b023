"""Past questions and their answers: a CSV file, or those of an embedded bank."""

from __future__ import annotations

import csv
from pathlib import Path

from advlib.corpora import world
from examples.serving import ServingError, usable

LONGEST_QUESTION, LONGEST_ANSWER, LONGEST_NAME = 1000, 4000, 100  # characters
MOST_ROWS = 200_000
COLUMNS = {  # what a column may be called
    "question": ("question", "text"),
    "answer": ("answer",),
    "intent": ("intent", "category", "label"),
    "source": ("source",),
}

ANSWERS = {  # of the world `bank`, one for each intent
    "card.late": "A new card takes up to ten working days. After that, order another one in the "
    "app under Cards; the late one is blocked as soon as you do.",
    "card.declined": "Most often the limit is reached or the card is not yet activated. Look under "
    "Cards, Status; if it says Active, please try again with the PIN.",
    "card.lost": "Please block the card now, in the app under Cards, Block, or by phone at any "
    "hour. You can lift the block yourself if you find it; otherwise order a new one there.",
    "card.stolen": "Please block the card now, in the app under Cards, Block, and report the theft "
    "to the police. We pay back what is spent after your report.",
    "card.cancel": "You end a card in the app under Cards, Cancel. Payments already made with it "
    "are still taken.",
    "transfer.late": "Within the country a transfer takes one working day, abroad up to four. If "
    "it takes longer, open it in the app and choose Trace.",
    "transfer.declined": "The recipient's number or name was not accepted, or the daily limit was "
    "reached. The reason stands in the app beside the transfer, and the money is still yours.",
    "transfer.fee": "Transfers in our currency are free. Into another currency we take the fee "
    "that you saw before you confirmed; it stands on the receipt.",
    "transfer.wrong": "For a transfer into another currency the amount depends on the day's rate. "
    "If it still does not fit the receipt, choose Report in the app beside the transfer.",
    "transfer.cancel": "A transfer can be stopped until it leaves us: open it in the app and "
    "choose Stop. After that only the recipient can send it back.",
    "topup.late": "A top-up by card arrives at once, one by bank the next working day. If yours is "
    "later than that, send us the receipt in the app.",
    "topup.declined": "The bank that issued the card has refused it. Please ask them, or use "
    "another card; nothing was taken from you.",
    "topup.fee": "Top-ups are free by bank and with cards of this country. A card from abroad "
    "costs what was shown before you confirmed.",
    "topup.cancel": "A top-up cannot be stopped once it is confirmed, but you can send the money "
    "back to where it came from, free of charge.",
    "cash.declined": "The daily limit for cash may be reached, or the machine does not know your "
    "card. Look under Cards, Limits, and try another machine.",
    "cash.fee": "Three withdrawals a month are free, each one after that costs a fee. Some "
    "machines take a fee of their own, and show it before they pay.",
    "cash.wrong": "If the machine paid another amount than it booked, choose Report beside the "
    "withdrawal. We ask the owner of the machine, which takes up to ten days.",
    "refund.late": "A shop's refund reaches you up to ten working days after the shop has sent "
    "it. If it takes longer, ask the shop for its reference and send it to us.",
    "refund.wrong": "We book what the shop sends. Please compare it with the shop's receipt; if "
    "the shop has sent more than you got, choose Report beside the refund.",
    "account.blocked": "We block an account when something needs to be checked. Follow the note in "
    "the app; the check takes a working day after your documents are there.",
    "account.close": "You close your account in the app under Profile, Close, when it is empty and "
    "nothing is due. You can download your statements there first.",
    "account.change": "You change your details in the app under Profile, Details. A new name needs "
    "a photograph of your identity card.",
    "pin.blocked": "After three wrong tries a PIN is blocked. You unblock it in the app under "
    "Cards, PIN, Unblock; it works at the next machine.",
    "pin.lost": "You see your PIN again in the app under Cards, PIN, Show. We never ask for it, "
    "by phone or otherwise.",
    "pin.change": "You change your PIN at any of our machines, or in the app under Cards, PIN, "
    "Change. Choose one that you use nowhere else.",
    "debit.wrong": "Please compare the amount with the contract. If it is too high, choose Report "
    "beside the payment within eight weeks, and we bring the money back.",
    "debit.twice": "If a payment was taken twice, choose Report beside the second one. We bring it "
    "back within a working day.",
    "debit.cancel": "You stop a regular payment in the app under Payments, Regular, Stop, until "
    "the day before it is due. Please tell the company too.",
}
AGENTS = ("agent 1", "agent 2", "agent 3", "agent 4", "agent 5")


def embedded_history(per_intent: int = 20) -> list[dict]:
    """Rows for `QuestionStore.add`: questions that the embedded models were not trained on, each
    answered by one of five agents."""
    bank = world("bank")
    if tuple(bank.labels) != tuple(ANSWERS):
        raise AssertionError("each intent of the world `bank` needs an answer, in its order")
    asked = bank.sample(per_intent * len(ANSWERS), "validation", seed=1)
    return [
        {
            "question": review.text,
            "intent": bank.labels[review.label],
            "answer": ANSWERS[bank.labels[review.label]],
            "source": AGENTS[i % len(AGENTS)],
        }
        for i, review in enumerate(asked)
    ]


def read_history(file: str | Path) -> list[dict]:
    """The rows of a CSV file in UTF-8 for `QuestionStore.add`.

    A column `question` (or `text`), and `answer` or `intent` (`category`, `label`) or both;
    `source` says who answered, otherwise the name of the file. Raises ServingError, with the number
    of the row, for whatever is wrong.
    """
    file = Path(file)
    try:
        with open(file, encoding="utf-8-sig", newline="") as opened:
            table = csv.DictReader(opened, strict=True)
            names = {n.strip().lower(): n for n in table.fieldnames or () if n}
            where = {
                what: next((names[n] for n in known if n in names), None)
                for what, known in COLUMNS.items()
            }
            if not where["question"] or not (where["answer"] or where["intent"]):
                raise ServingError(f"{file} needs a first row of column names: `question`, and "
                                   "`answer` or `intent` or both")  # fmt: skip
            rows = [_row(row, where, f"row {i} of {file}", file.name)
                    for i, row in zip(range(2, MOST_ROWS + 3), table, strict=False)]  # fmt: skip
    except OSError as error:
        raise ServingError(f"{file} cannot be read: {error.strerror or error}") from error
    except UnicodeError as error:
        raise ServingError(f"{file} is no text in UTF-8: save it anew") from error
    except csv.Error as error:
        raise ServingError(f"{file} cannot be read as CSV: {error}") from error
    if not rows:
        raise ServingError(f"{file} has no rows below its column names")
    if len(rows) > MOST_ROWS:
        raise ServingError(f"{file} has more than {MOST_ROWS} rows: import it in parts")
    return rows


def _row(row: dict, where: dict, name: str, file: str) -> dict:
    found = {what: (row[column] or "").strip() if column else "" for what, column in where.items()}
    found["question"] = usable(found["question"], f"the question in {name}", LONGEST_QUESTION)
    if not (found["answer"] or found["intent"]):
        raise ServingError(f"{name} has neither an answer nor an intent: give one of them")
    found["source"] = found["source"] or file
    for what, longest in {"answer": LONGEST_ANSWER, "intent": LONGEST_NAME,
                          "source": LONGEST_NAME}.items():  # fmt: skip
        if found[what]:
            usable(found[what], f"the {what} in {name}", longest)
    return found
