"""Answers to people: pictures, the page, the console and result.json."""
