//! Queries and judgements in the formats of TREC and BEIR.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::Deserialize;

use crate::types::{Error, Result};

/// A query with the id that judgements know it by.
#[derive(Debug, PartialEq)]
pub(super) struct Query {
    pub(super) id: String,
    pub(super) text: String,
}

/// Which documents are right for which queries.
#[derive(Debug, Default)]
pub(super) struct Judgements {
    /// By query, then by document. Queries without a grade above 0 are not here.
    grades: HashMap<String, HashMap<String, u32>>,
}

impl Judgements {
    /// How many queries have a right document.
    pub(super) fn len(&self) -> usize {
        self.grades.len()
    }

    pub(super) fn has_relevant(&self, query: &str) -> bool {
        self.grades.contains_key(query)
    }

    /// A document's grade; 0 where it was not judged.
    pub(super) fn grade(&self, query: &str, document: &str) -> u32 {
        let grades = self.grades.get(query);
        grades.and_then(|grades| grades.get(document)).copied().unwrap_or_default()
    }

    /// The grades of all documents that were judged for a query.
    pub(super) fn grades(&self, query: &str) -> Vec<u32> {
        let grades = self.grades.get(query);
        grades.map(|grades| grades.values().copied().collect()).unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct JsonQuery {
    #[serde(rename = "_id", alias = "id")]
    id: String,
    text: String,
}

/// Reads queries: lines of an id, a tab and a text, or of JSON with `_id` (or `id`) and `text`.
/// Blank lines are passed over. `invalid-argument` with the file and the line of what is wrong.
pub(super) fn queries(path: &Path) -> Result<Vec<Query>> {
    parse_queries(&read("--queries", path)?, path)
}

/// Reads judgements: lines of query, anything, document and grade (TREC), or of query, document
/// and grade, the first of which may be a head (BEIR). Grades below 0 are 0. Blank lines are
/// passed over.
pub(super) fn judgements(path: &Path) -> Result<Judgements> {
    parse_judgements(&read("--qrels", path)?, path)
}

fn read(flag: &str, path: &Path) -> Result<String> {
    let read = std::fs::read_to_string(path);
    read.map_err(|error| Error::invalid(flag, format!("{}: {error}", path.display())))
}

fn wrong(flag: &str, path: &Path, line: usize, why: impl std::fmt::Display) -> Error {
    Error::invalid(flag, format!("{}:{line}: {why}", path.display()))
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = (1..).zip(text.trim_start_matches('\u{feff}').lines());
    lines.filter(|(_, line)| !line.trim().is_empty())
}

fn parse_queries(text: &str, path: &Path) -> Result<Vec<Query>> {
    let mut queries = Vec::new();
    let mut seen = HashSet::new();
    for (number, line) in lines(text) {
        let wrong = |why: &dyn std::fmt::Display| wrong("--queries", path, number, why);
        let query = if line.trim_start().starts_with('{') {
            let JsonQuery { id, text } =
                serde_json::from_str(line).map_err(|error| wrong(&error))?;
            Query { id, text }
        } else {
            let (id, text) = line
                .split_once('\t')
                .ok_or_else(|| wrong(&"must be an id, a tab and a text, or JSON"))?;
            Query { id: id.trim().to_owned(), text: text.trim().to_owned() }
        };
        if query.id.is_empty() || query.text.trim().is_empty() {
            return Err(wrong(&"the id or the text is empty"));
        }
        if !seen.insert(query.id.clone()) {
            return Err(wrong(&format!("query {} is there twice", query.id)));
        }
        queries.push(query);
    }
    Ok(queries)
}

fn parse_judgements(text: &str, path: &Path) -> Result<Judgements> {
    let mut judgements = Judgements::default();
    for (place, (number, line)) in lines(text).enumerate() {
        let wrong = |why: &str| wrong("--qrels", path, number, why);
        // Ids of documents may have spaces where tabs separate.
        let columns: Vec<&str> = match line.contains('\t') {
            true => line.split('\t').map(str::trim).collect(),
            false => line.split_whitespace().collect(),
        };
        let (query, document, grade) = match columns[..] {
            [query, _, document, grade] | [query, document, grade] => (query, document, grade),
            _ => {
                let why =
                    "must be query, anything, document and grade, or query, document and grade";
                return Err(wrong(why));
            }
        };
        let Ok(grade) = grade.parse::<i64>() else {
            // A head, as in `query-id corpus-id score`.
            if place == 0 && columns.len() == 3 {
                continue;
            }
            return Err(wrong("the grade must be a whole number"));
        };
        let grade = u32::try_from(grade.max(0)).map_err(|_| wrong("the grade is too large"))?;
        let of_query = judgements.grades.entry(query.to_owned()).or_default();
        let grades = of_query.entry(document.to_owned()).or_default();
        *grades = grade.max(*grades);
    }
    judgements.grades.retain(|_, grades| grades.values().any(|grade| *grade > 0));
    Ok(judgements)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> &'static Path {
        Path::new("file")
    }

    #[test]
    fn queries_are_lines_with_tabs_or_json() {
        let text = "\u{feff}q1\twhat is it\n\n{\"_id\": \"q2\", \"text\": \"that\", \"metadata\": {}}\r\n\
                    {\"id\":\"q3\",\"text\":\"x\"}\nq4\ta\tb\n";
        let found = parse_queries(text, path()).expect("valid");
        let expected = [("q1", "what is it"), ("q2", "that"), ("q3", "x"), ("q4", "a\tb")];
        let found: Vec<_> = found.iter().map(|q| (q.id.as_str(), q.text.as_str())).collect();
        assert_eq!(found, expected);
        for (text, line) in
            [("q1 no tab", 1), ("q1\ta\n{\"_id\":1}", 2), ("\n\tx", 2), ("a\tb\na\tc", 2)]
        {
            let error = parse_queries(text, path()).expect_err(text);
            assert!(error.detail.contains(&format!("file:{line}: ")), "{error}");
        }
    }

    #[test]
    fn judgements_are_trec_or_beir() {
        let trec = "q1 0 d1 2\nq1 Q0 d2 0\nq2 0 d1 -1\n\nq3 0 d9 1\n";
        let beir = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td1\t-1\nq3\td9\t1\n";
        for text in [trec, beir] {
            let found = parse_judgements(text, path()).expect("valid");
            assert_eq!(found.len(), 2);
            assert_eq!((found.grade("q1", "d1"), found.grade("q1", "d2")), (2, 0));
            assert!(!found.has_relevant("q2") && found.has_relevant("q3"));
            let mut grades = found.grades("q1");
            grades.sort_unstable();
            assert_eq!(grades, [0, 2]);
            assert_eq!((found.grade("q9", "d1"), found.grades("q9")), (0, vec![]));
        }
        let spaces = parse_judgements("q1\tmy doc\t1", path()).expect("valid");
        assert_eq!(spaces.grade("q1", "my doc"), 1);
        for (text, line) in
            [("q1 d1", 1), ("q1 0 d1 x", 1), ("q1 d1 1\nq1 d1 x", 2), ("a b c d e", 1)]
        {
            let error = parse_judgements(text, path()).expect_err(text);
            assert!(error.detail.contains(&format!("file:{line}: ")), "{error}");
        }
    }
}
