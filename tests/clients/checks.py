"""Shared by the Python clients: a table of checks that prints the lines that run.py reads."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

CHECKS: dict[str, Callable[[], None]] = {}
UNICODE = "Grüße, 世界 🗺"
FIVE = [f"i-{number}" for number in range(5)]
_NUMBERS: Iterator[int] = iter(range(1, 10_000))


def check(identifier: str):
    """Registers a function as this check."""

    def register(function: Callable[[], None]) -> Callable[[], None]:
        CHECKS[identifier] = function
        return function

    return register


def name(prefix: str = "n") -> str:
    """A name that no other check uses."""
    return f"{prefix}-{next(_NUMBERS)}"


def equal(got: Any, expected: Any) -> None:
    if got != expected:
        raise AssertionError(f"expected {expected!r}, got {got!r}")


def run_all(at_once: int = 1) -> int:
    """Runs the checks, `at_once` of them concurrently, and returns the exit status."""

    def run(identifier: str, function: Callable[[], None]) -> bool:
        try:
            function()
        except Exception as error:
            text = " ".join(str(error).split())
            print(f"not ok {identifier}: {type(error).__name__}: {text}", flush=True)
            traceback.print_exc()
            return False
        print(f"ok {identifier}", flush=True)
        return True

    with ThreadPoolExecutor(at_once) as pool:
        return 0 if all(list(pool.map(run, CHECKS, CHECKS.values()))) else 1
