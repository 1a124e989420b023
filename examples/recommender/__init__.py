"""A shop that recommends: items' texts and other features into a ranker, users' clicks as labels.

    shop.py     items and clicks: embedded, or two CSV files
    store.py    everything in one SQLite file, the trained ranker included
    app.py      what it does: a user's first items and why, a seller's place before and after
    api.py      by HTTP         page.py  in a browser
"""
