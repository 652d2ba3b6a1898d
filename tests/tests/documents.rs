//! The documents agree with the tree: paths exist, and quoted code is that of the examples.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};

/// The path of a file, from its path in the repository.
fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(at(path)).unwrap()
}

#[test]
fn every_path_in_the_architecture_exists() {
    let text = read("ARCHITECTURE.md");
    let quoted = text.split('`').skip(1).step_by(2);
    let paths: Vec<&str> = quoted
        .filter(|code| code.contains('/') || code.starts_with("sd-"))
        .filter(|code| code.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)))
        .filter(|code| !code.starts_with('/'))
        .collect();
    assert!(paths.len() > 20, "paths must be in backquotes, found only {paths:?}");
    // Package names that are not paths.
    let packages = ["sd-net", "sd-server"];
    let missing: Vec<_> =
        paths.iter().filter(|path| !packages.contains(path) && !at(path).exists()).collect();
    assert!(missing.is_empty(), "missing paths: {missing:?}");
}

#[test]
fn the_architecture_fits_on_two_pages() {
    let text = read("ARCHITECTURE.md");
    let words = text.split_whitespace().count();
    assert!(words <= 1300, "{words} words");
}

/// The code block after a mark.
fn block_after<'a>(text: &'a str, mark: &str) -> Vec<&'a str> {
    let (_, rest) = text.split_once(mark).unwrap_or_else(|| panic!("missing mark {mark}"));
    rest.lines()
        .skip_while(|line| !line.starts_with("```"))
        .skip(1)
        .take_while(|line| *line != "```")
        .collect()
}

/// Asserts that the file contains these lines in a row, at any indentation.
fn assert_shown(path: &str, lines: &[&str]) {
    assert!(lines.len() > 3, "{path}: {lines:?}");
    let file = read(path);
    let file: Vec<&str> = file.lines().map(str::trim).collect();
    let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    assert!(file.windows(lines.len()).any(|window| window == lines), "{path} does not have {lines:#?}");
}

#[test]
fn code_that_the_readme_quotes_is_in_the_examples() {
    let text = read("README.md");
    let marks: Vec<&str> = text.lines().filter(|line| line.starts_with("<!-- from: ")).collect();
    assert_eq!(marks.len(), 3, "{marks:?}");
    for mark in marks {
        let path = mark.trim_start_matches("<!-- from: ").trim_end_matches(" -->");
        assert_shown(path, &block_after(&text, mark));
    }
}

#[test]
fn code_that_the_docs_of_aws_sdk_quote_is_in_the_example() {
    let text = read("sd-http/src/aws_sdk.rs");
    let docs = text.lines().filter_map(|line| line.strip_prefix("//!"));
    let docs: Vec<&str> = docs.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    let docs = docs.join("\n");
    assert_shown("examples/cargo_test/tests/peers.rs", &block_after(&docs, "nothing waits:"));
}
