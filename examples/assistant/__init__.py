"""A customer service assistant: `python -m examples.assistant`, or `make assistant`.

history.py      past questions and their answers: a CSV file, or the embedded bank
store.py        what the assistant knows, what waits for a person, what waits to be confirmed
classifier.py   from a question to an intent
app.py          what happens to a question
api.py          the same by HTTP
page.py         the same in a browser
"""
