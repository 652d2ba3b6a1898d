"""Tests of the walkthrough itself: it must notice failures. Needs no server and no network."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import unittest
from pathlib import Path

import walkthrough
from expect import ABSENT, AnyOrder, Dns, Done, Error, Json, Keep, Sets, Text, Var, soa
from session import Report, Shell
from walkthrough import NotYet, Own, Page

ANSWER = """\
;; ->>HEADER<<- opcode: QUERY, status: {status}, id: 4711
;; flags: qr {flags}; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 1

;; OPT PSEUDOSECTION:
; EDNS: version: 0, flags:; udp: 1232
;; QUESTION SECTION:
;a.app.local.                  IN      A

;; {section} SECTION:
{record}

;; SERVER: 127.0.0.1#53(127.0.0.1) (UDP)
"""


class Alive:
    """A stand-in for a server that keeps running."""

    def check_alive(self) -> None:
        pass


class WithShell(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix="sd-seed.")
        self.addCleanup(directory.cleanup)
        self.shell = Shell(Path(directory.name), dict(os.environ))
        self.addCleanup(self.shell.close)

    def play(self, *steps: walkthrough.Step, commands: dict[str, str] | None = None) -> tuple[int, int]:
        report = Report()
        with contextlib.redirect_stdout(io.StringIO()):
            walkthrough.play(steps, commands or {}, self.shell, Alive(), report)
        return report.passed, report.failed

    def passes(self, command: str, expected: object) -> bool:
        return self.play(Own("step", command, expected)) == (1, 0)


class Steps(WithShell):
    def test_the_next_step_runs_after_a_failure(self) -> None:
        steps = [Own("fails", "false", Done()), Own("works", "true", Done()), Page("page", Done())]
        self.assertEqual((2, 1), self.play(*steps, commands={"page": "true"}))

    def test_a_page_step_without_a_command_fails(self) -> None:
        self.assertEqual((0, 1), self.play(Page("unknown", Done())))

    def test_a_skipped_command_does_not_count(self) -> None:
        self.assertEqual((0, 0), self.play(NotYet("later", "reason")))

    def test_a_command_that_ends_the_shell_fails_and_stops_the_run(self) -> None:
        self.assertEqual((0, 1), self.play(Own("exits", "exit 0", Done()), Own("works", "true", Done())))

    def test_variables_and_exports_persist_between_commands(self) -> None:
        self.shell.run('eval "echo export A=1"; eval "export B=\'2 3\'"; C=$(printf 4)')
        self.assertEqual(("", "2 3", "4"), (self.shell["A"], self.shell["B"], self.shell["C"]))
        self.shell["D"] = "it's"
        self.assertEqual("it's", self.shell.run('printf "$D"').out)


class Coverage(unittest.TestCase):
    COMMANDS = {"one": "true", "two": "true"}

    def test_every_command_is_run_or_skipped_by_name(self) -> None:
        steps = [Page("one", Done()), Own("between", "true", Done()), NotYet("two", "reason"), Page("one", Done())]
        self.assertEqual([], walkthrough.uncovered(steps, self.COMMANDS))

    def test_a_command_without_a_step_is_reported(self) -> None:
        self.assertIn("two", *walkthrough.uncovered([Page("one", Done())], self.COMMANDS))

    def test_a_step_without_a_command_is_reported(self) -> None:
        steps = [Page("one", Done()), Page("two", Done()), Page("three", Done())]
        self.assertIn("three", *walkthrough.uncovered(steps, self.COMMANDS))

    def test_another_order_is_reported(self) -> None:
        steps = [Page("two", Done()), Page("one", Done())]
        self.assertIn("order", *walkthrough.uncovered(steps, self.COMMANDS))

    def test_names_of_commands_are_unique(self) -> None:
        text = "# about\n\n[a.b]\none \\\n  --more\n\n[c]\ntwo\n"
        self.assertEqual({"a.b": "one \\\n  --more", "c": "two"}, walkthrough.read_commands(text))
        self.assertRaises(ValueError, walkthrough.read_commands, "[a]\none\n\n[a]\ntwo\n")


class Expectations(WithShell):
    def test_json_members_are_compared_exactly(self) -> None:
        document = """printf '%s' '{"a": {"b": 1, "c": [1, 2]}, "d": "x-1"}'"""
        for members in (
            {"a": {"b": 1}},
            {"a": {"c": AnyOrder(2, 1)}, "e": ABSENT},
            {"d": Keep("D", "x-.")},
            {"d": Var("D")},
        ):
            self.assertTrue(self.passes(document, Json(members)), members)
        for members in (
            {"a": {"b": 2}},
            {"a": {"b": True}},
            {"a": {"b": "1"}},
            {"a": {"c": [2, 1]}},
            {"a": {"c": [1]}},
            {"a": {"c": AnyOrder(1, 1)}},
            {"a": ABSENT},
            {"e": 1},
            {"d": Keep("D", "x")},
            {"d": Var("UNSET")},
        ):
            self.assertFalse(self.passes(document, Json(members)), members)
        self.assertFalse(self.passes(f"{document}; false", Json({})))
        self.assertFalse(self.passes("echo", Json({})))

    def test_errors_need_code_message_and_status(self) -> None:
        said = 'echo "An error occurred (Gone) when calling the Get operation: It is gone" >&2;'
        self.assertTrue(self.passes(f"{said} (exit 255)", Error("Gone", "It is")))
        self.assertFalse(self.passes(f"{said} (exit 255)", Error("Lost")))
        self.assertFalse(self.passes(f"{said} (exit 255)", Error("Gone", "It was")))
        self.assertFalse(self.passes(said, Error("Gone")))
        self.assertFalse(self.passes("(exit 255)", Error("Gone")))

    def test_variables_need_their_value(self) -> None:
        self.assertTrue(self.passes("X=$(echo 1)", Sets("X", "1")))
        self.assertFalse(self.passes("X=$(echo 2)", Sets("X", "1")))
        self.assertFalse(self.passes("X=$(echo 1; false)", Sets("X", "1")))

    def test_every_form_of_a_text_is_needed(self) -> None:
        self.assertTrue(self.passes("printf 'a\\nb\\n'", Text("^a$", "^b$")))
        self.assertFalse(self.passes("printf 'a\\nb\\n'", Text("^a$", "^c$")))
        self.assertFalse(self.passes("echo a; false", Text("^a$")))

    def test_dns_answers_are_compared_exactly(self) -> None:
        def passes(expected: Dns, **answer: str) -> bool:
            record = "a.app.local.            60      IN      A       127.0.0.2"
            fields = {"status": "NOERROR", "flags": "aa rd", "section": "ANSWER", "record": record, **answer}
            return self.passes(f"cat <<'END'\n{ANSWER.format(**fields)}\nEND", expected)

        record = ("a.app.local.", 60, "A", "127.0.0.2")
        self.assertTrue(passes(Dns(record)))
        self.assertTrue(passes(Dns(record, authoritative=False), flags="rd"))
        self.assertFalse(passes(Dns(record), flags="rd"))
        self.assertFalse(passes(Dns(record), status="SERVFAIL"))
        self.assertFalse(passes(Dns(record, record)))
        self.assertFalse(passes(Dns()))
        self.assertFalse(passes(Dns(("a.app.local.", 30, "A", "127.0.0.2"))))
        self.assertFalse(self.passes("echo ';; no servers could be reached'; (exit 9)", Dns()))

        negative = Dns(status="NXDOMAIN", authority=(soa("app.local.", 15),))
        for ttl, minimum, right in (15, 15, True), (60, 15, False), (15, 60, False):
            zone = f"app.local.  {ttl}  IN  SOA  ns.app.local. admin.app.local. 1 7200 900 1209600 {minimum}"
            self.assertEqual(right, passes(negative, status="NXDOMAIN", section="AUTHORITY", record=zone))
        self.assertFalse(passes(negative, status="NXDOMAIN", section="AUTHORITY", record=""))


if __name__ == "__main__":
    unittest.main()
