"""The command line: each verb's help as it is printed, and the exit codes that it lists."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from monai_bone_ssl.cli import _parser
from monai_bone_ssl.show import results
from reference.markdown import table

__all__ = ["all_verbs", "analyze_exit_codes", "verb_links"]


def all_verbs() -> str:
    """One section a verb, with its help."""
    sections = [
        f"## {parser.prog}\n\n```text\n{parser.format_help().rstrip()}\n```" for parser in _verbs(_parser())
    ]
    return "\n\n".join(sections)


def verb_links() -> str:
    """Links to the sections of :func:`all_verbs`."""
    names = [parser.prog for parser in _verbs(_parser())]
    return " · ".join(f"[{name}](#{name.replace(' ', '-')})" for name in names)


def analyze_exit_codes() -> str:
    """Exit codes of analyze with their meaning, as its help lists them."""
    analyze = next(parser for parser in _verbs(_parser()) if parser.prog.endswith(" analyze"))
    listed = re.findall(r"^  (\d+) +(.+)$", analyze.description or "", re.MULTILINE)
    names = {getattr(results, name): name for name in results.__all__ if name.startswith("EXIT_")}
    if sorted(map(int, dict(listed))) != sorted(names):
        raise AssertionError("the help of analyze does not list the exit codes of results.py")
    rows = [(number, f"`{names[int(number)]}`", meaning) for number, meaning in listed]
    return table(["code", "in `monai_bone_ssl.show.results`", "meaning"], rows)


def _verbs(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser, and those of its verbs that do something."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups or parser.prog == "bone-ssl":
        yield parser
    for group in groups:
        for verb in group.choices.values():
            yield from _verbs(verb)
