//! What a Markdown file says of itself: front matter in YAML, and the first heading.

use pulldown_cmark::{Event, MetadataBlockKind, Options, Parser, Tag, TagEnd};
use serde_json::{Map, Value};

use crate::types::{Error, Result};

/// A Markdown text taken apart.
#[derive(Debug, PartialEq, Default)]
pub(super) struct Markdown {
    /// Of the front matter, or else the first heading.
    pub(super) title: Option<String>,
    /// Of the front matter.
    pub(super) author: String,
    /// Of the front matter: a list, or names with commas between them.
    pub(super) tags: Vec<String>,
    /// What the front matter says besides.
    pub(super) metadata: Map<String, Value>,
    /// The text without the front matter.
    pub(super) body: String,
}

/// Takes a text apart; `invalid-argument` naming `front_matter` where that is no YAML mapping.
pub(super) fn read(text: &str) -> Result<Markdown> {
    let options = Options::ENABLE_YAML_STYLE_METADATA_BLOCKS | Options::ENABLE_STRIKETHROUGH;
    let mut front = None;
    let mut body_begin = 0;
    let mut heading: Option<String> = None;
    let mut within = None;
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        match event {
            // Front matter is what the text begins with; elsewhere it is between rules.
            Event::Start(Tag::MetadataBlock(MetadataBlockKind::YamlStyle)) if range.start == 0 => {
                (within, body_begin) = (Some(Within::Front), range.end);
            }
            Event::End(TagEnd::MetadataBlock(_)) => within = None,
            Event::Start(Tag::Heading { .. }) => {
                (within, heading) = (Some(Within::Heading), Some(String::new()));
            }
            Event::End(TagEnd::Heading(_)) => {
                heading = heading.map(|words| words.trim().to_owned()).filter(|h| !h.is_empty());
                if heading.is_some() {
                    break;
                }
                within = None;
            }
            Event::Text(words) | Event::Code(words) => match (&within, &mut heading) {
                (Some(Within::Front), _) => {
                    front.get_or_insert_with(String::new).push_str(&words);
                }
                (Some(Within::Heading), Some(heading)) => heading.push_str(&words),
                (Some(Within::Heading), None) | (None, _) => {}
            },
            Event::SoftBreak | Event::HardBreak => {
                if let (Some(Within::Heading), Some(heading)) = (&within, &mut heading) {
                    heading.push(' ');
                }
            }
            Event::Start(_)
            | Event::End(_)
            | Event::InlineMath(_)
            | Event::DisplayMath(_)
            | Event::Html(_)
            | Event::InlineHtml(_)
            | Event::FootnoteReference(_)
            | Event::Rule
            | Event::TaskListMarker(_) => {}
        }
    }
    let body = text[body_begin..].trim_start().to_owned();
    let mut markdown = Markdown { title: heading, body, ..Markdown::default() };
    if let Some(front) = front {
        markdown.take_front(&front)?;
    }
    Ok(markdown)
}

enum Within {
    Front,
    Heading,
}

impl Markdown {
    fn take_front(&mut self, front: &str) -> Result<()> {
        // Whoever tags with `y`, `no` or 007 means these texts.
        let options = serde_saphyr::options! {
            strict_booleans: true,
            leading_zero_numbers_as_strings: true,
            with_snippet: false,
        };
        let parsed = serde_saphyr::from_str_with_options(front, options);
        let parsed: Option<Map<String, Value>> = parsed.map_err(|error| {
            let why = error.to_string();
            let first = why.lines().next().unwrap_or_default().to_owned();
            Error::invalid("front_matter", format!("is no YAML mapping: {first}"))
        })?;
        for (name, value) in parsed.unwrap_or_default() {
            match (name.as_str(), value) {
                ("title", value) => self.title = text(value).or(self.title.take()),
                ("author", value) => self.author = text(value).unwrap_or_default(),
                ("tags", value) => self.tags = names(value),
                (_, value) => {
                    self.metadata.insert(name, value);
                }
            }
        }
        Ok(())
    }
}

fn text(value: Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text,
        Value::Array(items) => items.into_iter().filter_map(text).collect::<Vec<_>>().join(", "),
        value @ (Value::Bool(_) | Value::Number(_) | Value::Object(_)) => value.to_string(),
    };
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn names(value: Value) -> Vec<String> {
    if let Value::Array(items) = value {
        return items.into_iter().filter_map(text).collect();
    }
    let names = text(value).unwrap_or_default();
    names.split(',').map(|name| name.trim().to_owned()).filter(|n| !n.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_title_is_the_front_matters_or_the_first_headings() {
        let title = |text: &str| read(text).expect("readable").title;
        assert_eq!(title("# One *and* `two`\n\ntext\n## Three\n").as_deref(), Some("One and two"));
        assert_eq!(title("text\n\nUnder\nlined\n===\n").as_deref(), Some("Under lined"));
        assert_eq!(title("```\n# no\n```\n\n## yes\n").as_deref(), Some("yes"));
        assert_eq!(title("---\ntitle: Front\n---\n# Heading\n").as_deref(), Some("Front"));
        assert_eq!(title("---\nauthor: A\n---\n# Heading\n").as_deref(), Some("Heading"));
        assert_eq!(title("no heading"), None);
        assert_eq!(title("#\n\ntext\n\n# second"), Some("second".to_owned()));
        assert_eq!(title(""), None);
    }

    #[test]
    fn front_matter_becomes_fields_and_metadata() {
        let text =
            "---\ntitle: 1984\nauthor: [A, B]\ntags: x, y\ndate: 2026-11-24\nn: 3\n---\n\nBody\n";
        let markdown = read(text).expect("readable");
        assert_eq!(markdown.title.as_deref(), Some("1984"));
        assert_eq!(markdown.author, "A, B");
        assert_eq!(markdown.tags, ["x", "y"]);
        assert_eq!(Value::Object(markdown.metadata), json!({"date": "2026-11-24", "n": 3}));
        assert_eq!(markdown.body, "Body\n");
        let tags = read("---\ntags: [y, no, 007]\n---\n").expect("readable").tags;
        assert_eq!(tags, ["y", "no", "007"]);
        assert_eq!(read("---\n# nothing\n---\nBody").expect("readable").body, "Body");
    }

    #[test]
    fn a_rule_is_no_front_matter_and_broken_front_matter_is_told() {
        let text = "Body\n\n---\ntitle: no\n---\n";
        let markdown = read(text).expect("readable");
        assert_eq!((markdown.body.as_str(), markdown.metadata.len()), (text, 0));
        let error = read("---\na: [1\n---\nBody").expect_err("broken");
        assert_eq!(error.violations[0].field, "front_matter");
        assert!(!error.detail.contains('\n'), "{error}");
    }
}
