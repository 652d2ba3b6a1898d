"""Tests of the checks themselves: a wrong answer must fail them. Needs no server and no network."""

from __future__ import annotations

import unittest
from unittest import mock

from checks import CHECKS, NO_DATA, NO_SUCH_NAME, Failure
from run import canonical, judged, means


class Wrong:
    """A resolver that gives the same answer to every question."""

    def __init__(self, answer: list | str):
        self._answer = answer

    def ask(self, kind: str, name: str) -> list | str:
        return self._answer

    def means(self, found: list | str, error: str) -> bool:
        return means("glibc", found, error)


class Checks(unittest.TestCase):
    def test_no_check_passes_with_a_wrong_answer(self) -> None:
        eight = [f"10.0.1.{number}" for number in range(8)]
        for answer in ([], ["10.9.9.9"], eight, eight * 2, ["10.0.0.1"] * 8, "try-again", "failure", "unsupported"):
            for identifier, check in CHECKS.items():
                with self.subTest(identifier, answer=answer), self.assertRaises(Failure):
                    check.run(mock.Mock(), Wrong(answer))

    def test_only_some_resolvers_may_confuse_a_missing_type_with_a_missing_name(self) -> None:
        self.assertTrue(means("go", NO_SUCH_NAME, NO_DATA))
        self.assertTrue(means("musl", NO_DATA, NO_SUCH_NAME))
        self.assertFalse(means("glibc", NO_SUCH_NAME, NO_DATA))
        for found in ("try-again", "failure", [], ["10.0.0.1"]):
            self.assertFalse(means("go", found, NO_DATA))

    def test_a_check_listed_as_not_applicable_must_fail(self) -> None:
        results = {"a": None, "b": "wrong", "c": "no such call"}
        self.assertEqual({"a": None, "b": "wrong"}, judged(results, {"c": "a reason"}))
        self.assertIsNotNone(judged(results, {"a": "a reason"})["a"])
        self.assertNotIn("a", judged(results, {"a": "before 1.2"}))
        self.assertIn("unknown", judged(results, {"unknown": "a reason"}))

    def test_answers_are_compared_in_canonical_form(self) -> None:
        self.assertEqual("fd00::1", canonical("FD00:0:0:0:0:0:0:1"))
        self.assertEqual([1, 2, 80, "a.b"], canonical([1, 2, 80, "A.b."]))


if __name__ == "__main__":
    unittest.main()
