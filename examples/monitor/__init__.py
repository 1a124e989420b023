"""A monitor for financial news: `python -m examples.monitor`, or `make monitor`."""
