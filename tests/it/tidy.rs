//! Reads the sources and keeps the house in order: import floors, where crates may be named,
//! sizes, and words that must not appear.

use std::path::{Path, PathBuf};

/// What the checks look at: a file's path below `src/` and its code without tests and comments.
struct Source {
    path: String,
    code: Vec<(usize, String)>,
    lines_before_tests: usize,
    widest: usize,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    assert!(files.len() > 20, "the sources were not found");
    files.sort();
    files.iter().map(|file| read(&root, file)).collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("readable folder") {
        let path = entry.expect("readable entry").path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

fn read(root: &Path, file: &Path) -> Source {
    let text = std::fs::read_to_string(file).expect("readable source");
    let path = file.strip_prefix(root).expect("below src").display().to_string();
    let tests = path.ends_with("tests.rs") || path.contains("/tests/");
    let before_tests = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    let lines: Vec<&str> = if tests { Vec::new() } else { before_tests.collect() };
    let code = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| (number + 1, (*line).to_owned()))
        .collect();
    let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    Source { path, code, lines_before_tests: lines.len(), widest }
}

/// Every place where `pattern` stands in code, but for files that `allowed` accepts.
fn places(sources: &[Source], pattern: &str, allowed: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !allowed(&source.path)) {
        for (number, line) in &source.code {
            if line.contains(pattern) {
                found.push(format!("src/{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    found
}

fn assert_none(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

/// Rooms and what they may import of ours, besides themselves.
const FLOORS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("store", &["types"]),
    ("log", &["types"]),
    ("index", &["types"]),
    ("embed", &["types"]),
    ("text", &["types"]),
    ("engine", &["store", "log", "index", "text", "embed", "types"]),
    ("api", &["engine", "types"]),
];

#[test]
fn imports_go_down_the_floors_only() {
    let sources = sources();
    for (room, below) in FLOORS {
        let inside: Vec<_> =
            sources.iter().filter(|s| s.path.starts_with(&format!("{room}/"))).collect();
        assert!(!inside.is_empty(), "room {room} is empty");
        for source in inside {
            for (number, line) in &source.code {
                for used in rooms_named(line) {
                    let fine = used == *room || below.contains(&used.as_str());
                    assert!(
                        fine,
                        "src/{}:{number}: {room} must not import {used}: {}",
                        source.path,
                        line.trim()
                    );
                }
            }
        }
    }
}

/// The rooms named on a line by `crate::room`.
fn rooms_named(line: &str) -> Vec<String> {
    line.match_indices("crate::")
        .map(|(at, found)| {
            let rest = &line[at + found.len()..];
            rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
        })
        .filter(|room: &String| !room.is_empty())
        .collect()
}

#[test]
fn transports_do_not_know_each_other() {
    let sources = sources();
    let grpc = places(&sources, "api::http", |path| !path.starts_with("api/grpc/"));
    let http = places(&sources, "api::grpc", |path| !path.starts_with("api/http/"));
    assert_none("a transport imports another", &[grpc, http].concat());
}

#[test]
fn crates_are_named_only_in_their_rooms() {
    let sources = sources();
    let within = |rooms: &'static [&'static str]| {
        move |path: &str| rooms.iter().any(|room| path.starts_with(room))
    };
    let rules: &[(&str, &[&str])] = &[
        ("fjall", &["store/"]),
        ("model2vec_rs", &["embed/"]),
        ("thread_priority", &["types/background.rs"]),
        ("text_splitter", &["engine/split.rs"]),
        ("rust_stemmers", &["text/words.rs"]),
        ("unicode_segmentation", &["text/words.rs"]),
        ("prost::", &["api/grpc/", "cli/"]),
        ("prost_types", &["api/grpc/", "cli/"]),
        ("axum::", &["api/http/", "server.rs"]),
        ("StatusCode::", &["api/", "server.rs"]),
        ("tonic::Code", &["api/"]),
    ];
    for (name, rooms) in rules {
        assert_none(
            &format!("{name} belongs into {rooms:?}"),
            &places(&sources, name, within(rooms)),
        );
    }
}

#[test]
fn wall_time_and_randomness_are_read_in_one_place() {
    let sources = sources();
    let clock = |path: &str| path == "types/clock.rs";
    for name in ["SystemTime", "now_v7", "new_v4", "getrandom", "rand::"] {
        assert_none(&format!("{name} outside types/clock.rs"), &places(&sources, name, clock));
    }
}

#[test]
fn nothing_is_unbounded_and_nothing_unwraps() {
    let sources = sources();
    for name in ["unbounded", ".unwrap()", "todo!(", "unimplemented!(", "dbg!("] {
        assert_none(&format!("{name} in code"), &places(&sources, name, |_| false));
    }
}

#[test]
fn unsafe_code_is_in_the_kernels_only() {
    let found = places(&sources(), "unsafe", |path| path.starts_with("index/kernels"));
    let found: Vec<_> = found.into_iter().filter(|place| !place.contains("unsafe_code")).collect();
    assert_none("unsafe outside the kernels", &found);
}

#[test]
fn files_are_of_a_readable_size() {
    for source in sources() {
        let (path, lines, widest) = (source.path, source.lines_before_tests, source.widest);
        assert!(lines <= 520, "src/{path} has {lines} lines before its tests: is it one noun?");
        assert!(widest <= 110, "src/{path} has a line of {widest} characters");
    }
}

#[test]
fn every_module_says_what_it_hides() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for source in sources() {
        let text = std::fs::read_to_string(root.join(&source.path)).expect("readable source");
        assert!(text.starts_with("//! "), "src/{} does not open with a sentence", source.path);
    }
}
