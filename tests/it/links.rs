//! What the pages of the repository link to is there: files, and headings in them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::harness::repository;

fn pages() -> Vec<PathBuf> {
    let mut pages = vec![repository("README.md")];
    let mut folders = vec![repository("docs"), repository("clients")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable").flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if path.is_dir() && name != "node_modules" {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// A page without its blocks of code.
fn prose(page: &Path) -> String {
    let text = std::fs::read_to_string(page).unwrap_or_else(|error| panic!("{page:?}: {error}"));
    let mut is_code = false;
    let lines = text.lines().filter(|line| {
        let is_fence = line.starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What a link can point at within a page: its headings as GitHub names them, and named places.
fn places(page: &Path) -> BTreeSet<String> {
    let text = prose(page);
    let headings = text.lines().filter_map(|line| {
        let heading = line.strip_prefix('#')?.trim_start_matches('#').trim();
        let kept = heading.to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        Some(kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>())
    });
    let named = text.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next());
    headings.chain(named.map(str::to_owned)).collect()
}

#[test]
fn what_the_pages_link_to_is_there() {
    let pages = pages();
    let mut links = 0;
    let mut broken = Vec::new();
    for page in &pages {
        for rest in prose(page).split("](").skip(1) {
            let link = rest.split([')', ' ']).next().expect("one part");
            if link.contains("://") {
                continue;
            }
            links += 1;
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().expect("a folder").join(file),
            };
            let is_there = target.exists() && (place.is_empty() || places(&target).contains(place));
            if !is_there {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(pages.len() > 10 && links > 50, "the pages were not found");
    assert!(broken.is_empty(), "nothing is where these point:\n{}", broken.join("\n"));
}
