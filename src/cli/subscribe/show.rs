//! An event on one line, for people.

use super::super::json::{Json, Object};
use super::super::output::{counted, excerpt, shown};

/// Characters of a title or a name that are shown.
const TEXT_SHOWN: usize = 80;

/// An event, a document of a snapshot, a heartbeat: when, what, and what about.
pub(in crate::cli) fn show(event: &Object) -> String {
    let time = event.text("timestamp");
    // Milliseconds do for people.
    let time = time.get(..23).map_or(time.to_owned(), |millis| format!("{millis}Z"));
    let mut line = format!("{time:<24}  {:<17}", event.text("type"));
    let mut add = |text: &str| {
        if !text.is_empty() {
            line.push_str("  ");
            line.push_str(text);
        }
    };
    add(&shown(event.text("document_id")));
    add(&excerpt(event.text("name"), TEXT_SHOWN));
    add(&excerpt(event.text("title"), TEXT_SHOWN));
    for (name, value) in event.members() {
        match (name, value) {
            ("num_chunks", Json::Number(count)) => add(&counted(*count, "chunk")),
            ("index", Json::Number(index)) => add(&format!("chunk {index}")),
            ("match", Json::Text(matched)) => add(matched),
            ("reason", Json::Text(reason)) => add(&shown(reason)),
            ("total_succeeded", Json::Number(count)) => add(&format!("{count} written")),
            ("total_failed" | "total_skipped", Json::Number(count)) if *count > 0 => {
                add(&format!("{count} {}", name.trim_start_matches("total_")));
            }
            ("total_documents", Json::Number(count)) => add(&counted(*count, "document")),
            ("previous_title" | "previous_name", Json::Text(before))
                if *before != event.text(name.trim_start_matches("previous_")) =>
            {
                add(&format!("(before: {})", excerpt(before, TEXT_SHOWN)));
            }
            _ => {}
        }
    }
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let event = Object::new()
            .with("type", "document.updated")
            .with("timestamp", "2026-11-24T12:48:42.762793Z")
            .with("document_id", "heron")
            .with("title", "Grey\nheron")
            .with("num_chunks", 3_u32)
            .with("previous_title", "Heron");
        assert_eq!(
            show(&event),
            "2026-11-24T12:48:42.762Z  document.updated   heron  Grey heron  3 chunks  (before: Heron)"
        );
        let begin = Object::new().with("type", "snapshot.begin");
        assert_eq!(show(&begin).trim_start(), "snapshot.begin");
    }
}
