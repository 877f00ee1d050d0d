//! The description as a page for people: one HTML document, made once, that fetches nothing.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use pulldown_cmark::{Event, Parser, html};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::openapi::DESCRIPTION;

const STYLE: &str = include_str!("docs.css");

/// Names of the methods that operations stand under, in the order in which a path shows them.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

static PAGE: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(render(&DESCRIPTION)));

/// The page runs nothing and is styled by its own style alone.
static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).ok()
});

/// The description as a page
///
/// For people; it fetches nothing and runs no script.
#[utoipa::path(
    get,
    path = "/docs",
    operation_id = "get_docs",
    tag = "server",
    responses((status = 200, description = "A page.", body = String, content_type = "text/html"))
)]
pub(super) async fn page() -> Response {
    let mut response = Response::new(Body::from(PAGE.clone()));
    let headers = response.headers_mut();
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, html);
    if let Some(policy) = &*POLICY {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
    }
    response
}

/// An operation and where it stands.
struct Operation<'a> {
    method: &'static str,
    path: &'a str,
    value: &'a Value,
}

impl Operation<'_> {
    fn id(&self) -> &str {
        text(&self.value["operationId"])
    }
}

fn render(description: &Value) -> String {
    let info = &description["info"];
    let operations = operations(description);
    let tags: Vec<&Value> = description["tags"].as_array().into_iter().flatten().collect();
    let mut page = String::with_capacity(256 << 10);
    let (title, version) = (escape(text(&info["title"])), escape(text(&info["version"])));
    // Writing to memory cannot fail, here and below.
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title} {version}: HTTP</title>\n<link rel=\"icon\" href=\"data:,\">\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<nav aria-label=\"Operations\">\n"
    );
    for tag in &tags {
        let name = text(&tag["name"]);
        let _ = write!(page, "<h2><a href=\"#group-{name}\">{name}</a></h2>\n<ul>\n");
        for operation in operations.iter().filter(|operation| is_of(operation, name)) {
            let (id, summary) = (operation.id(), escape(text(&operation.value["summary"])));
            let _ = writeln!(page, "<li><a href=\"#{id}\">{summary}</a></li>");
        }
        page.push_str("</ul>\n");
    }
    page.push_str("<h2><a href=\"#schemas\">shapes</a></h2>\n</nav>\n<main>\n");
    let about = markdown(text(&info["description"]));
    let _ = writeln!(page, "<h1>{title} <small>{version}</small></h1>\n{about}");
    page.push_str(
        "<p>For programs: <a href=\"/openapi.json\">/openapi.json</a>. Statuses from 400 on come \
         with a <a href=\"#schema-Problem\">Problem</a>.</p>\n",
    );
    for tag in &tags {
        let (name, about) = (text(&tag["name"]), markdown(text(&tag["description"])));
        let _ = writeln!(page, "<h2 id=\"group-{name}\">{name}</h2>\n{about}");
        for operation in operations.iter().filter(|operation| is_of(operation, name)) {
            write_operation(&mut page, operation);
        }
    }
    page.push_str("<h2 id=\"schemas\">shapes</h2>\n");
    for (name, schema) in members(&description["components"]["schemas"]) {
        let _ = writeln!(page, "<article id=\"schema-{name}\">\n<h3>{name}</h3>");
        write_schema(&mut page, schema);
        page.push_str("</article>\n");
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn operations(description: &Value) -> Vec<Operation<'_>> {
    let mut all = Vec::new();
    for (path, item) in members(&description["paths"]) {
        for method in METHODS {
            if let Some(value) = item.get(method) {
                all.push(Operation { method, path, value });
            }
        }
    }
    all
}

fn is_of(operation: &Operation<'_>, tag: &str) -> bool {
    operation.value["tags"].as_array().is_some_and(|tags| tags.iter().any(|one| one == tag))
}

fn write_operation(page: &mut String, operation: &Operation<'_>) {
    let Operation { method, path, value } = operation;
    let (id, summary) = (operation.id(), escape(text(&value["summary"])));
    let _ = writeln!(
        page,
        "<article id=\"{id}\">\n<h3><span class=\"{method}\">{}</span> <code>{}</code></h3>\n\
         <p class=\"summary\">{summary}.</p>\n{}",
        method.to_uppercase(),
        escape(path),
        markdown(text(&value["description"]))
    );
    let parameters: Vec<&Value> = value["parameters"].as_array().into_iter().flatten().collect();
    if !parameters.is_empty() {
        page.push_str("<h4>Parameters</h4>\n<dl>\n");
        for parameter in parameters {
            let name = escape(text(&parameter["name"]));
            let place = text(&parameter["in"]);
            let required = if parameter["required"] == true { ", required" } else { "" };
            let kind = kind(&parameter["schema"]);
            let about = markdown(text(&parameter["description"]));
            let _ = writeln!(
                page,
                "<dt><code>{name}</code> <small>{place}{required}: {kind}</small></dt>\n<dd>{about}</dd>"
            );
        }
        page.push_str("</dl>\n");
    }
    if let Some(body) = value.get("requestBody") {
        let may = if body["required"] == true { "" } else { " <small>may be absent</small>" };
        let _ = writeln!(page, "<h4>Body{may}</h4>\n{}", contents(body));
    }
    page.push_str("<h4>Answers</h4>\n<dl class=\"answers\">\n");
    for (status, response) in members(&value["responses"]) {
        let about = markdown(text(&response["description"]));
        // What problems look like is said once, above.
        let is_problem = response["content"].get("application/problem+json").is_some();
        let contents = if is_problem { String::new() } else { contents(response) };
        let _ = writeln!(page, "<dt><code>{status}</code></dt>\n<dd>{about}{contents}</dd>");
    }
    page.push_str("</dl>\n</article>\n");
}

/// What a body holds, by its content type.
fn contents(body: &Value) -> String {
    let mut out = String::new();
    for (content_type, content) in members(&body["content"]) {
        let (many, schema) = match content.get("itemSchema") {
            Some(item) if content_type == "text/event-stream" => ("events: each ", item),
            Some(item) => ("lines: each ", item),
            None => ("", &content["schema"]),
        };
        let (content_type, kind) = (escape(content_type), kind(schema));
        let _ = writeln!(out, "<p class=\"content\"><code>{content_type}</code> {many}{kind}</p>");
    }
    out
}

fn write_schema(page: &mut String, schema: &Value) {
    page.push_str(&markdown(text(&schema["description"])));
    if let Some(options) = options(schema) {
        page.push_str("<p>One of:</p>\n");
        for option in options {
            if option.get("properties").is_some() {
                page.push_str("<section>\n");
                write_schema(page, option);
                page.push_str("</section>\n");
            } else {
                let _ = writeln!(page, "<p>{}</p>", kind(option));
            }
        }
        return;
    }
    let Some(properties) = schema["properties"].as_object() else {
        let _ = writeln!(page, "<p>{}</p>", kind(schema));
        return;
    };
    let required = schema["required"].as_array();
    page.push_str("<dl>\n");
    for (name, property) in properties {
        let is_required = required.is_some_and(|all| all.iter().any(|one| one == name));
        let required = if is_required { ", required" } else { "" };
        let about = markdown(text(&property["description"]));
        let (name, kind) = (escape(name), kind(property));
        let _ = writeln!(
            page,
            "<dt><code>{name}</code> <small>{kind}{required}</small></dt>\n<dd>{about}</dd>"
        );
    }
    page.push_str("</dl>\n");
}

/// The schemas of which a value meets one.
fn options(schema: &Value) -> Option<&Vec<Value>> {
    schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array())
}

/// What a value is, in a few words.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or(reference);
        return format!("<a href=\"#schema-{name}\">{name}</a>");
    }
    if let Some(options) = options(schema) {
        return options.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    if let Some(values) = schema["enum"].as_array() {
        let shown = values.iter().map(|value| format!("<code>{}</code>", escape(text(value))));
        return shown.collect::<Vec<_>>().join(" · ");
    }
    let of_type = |name: &str| match name {
        "array" => format!("list of {}", kind(&schema["items"])),
        "string" => match text(&schema["format"]) {
            "" => "text".to_owned(),
            format => format!("text, {}", escape(format)),
        },
        "null" => "null".to_owned(),
        other => escape(other),
    };
    let types = &schema["type"];
    if let Some(names) = types.as_array() {
        return names.iter().map(|name| of_type(text(name))).collect::<Vec<_>>().join(" or ");
    }
    types.as_str().map_or_else(|| "anything".to_owned(), of_type)
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn markdown(text: &str) -> String {
    let events = Parser::new(text).map(|event| {
        if let Event::Html(raw) | Event::InlineHtml(raw) = event {
            // There is none; if there were, it would be text.
            return Event::Text(raw);
        }
        event
    });
    let mut out = String::new();
    html::push_html(&mut out, events);
    out
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_and_shape_of_the_description_is_on_the_page() {
        let page = render(&DESCRIPTION);
        let operations = operations(&DESCRIPTION);
        assert!(operations.len() > 30, "{}", operations.len());
        for operation in operations {
            assert!(page.contains(&format!("<article id=\"{}\">", operation.id())));
            assert!(page.contains(&format!("<a href=\"#{}\">", operation.id())));
        }
        let schemas: Vec<_> = members(&DESCRIPTION["components"]["schemas"]).collect();
        assert!(schemas.len() > 30, "{}", schemas.len());
        for (name, _) in schemas {
            assert!(page.contains(&format!("<article id=\"schema-{name}\">")), "{name}");
        }
        for link in page.split("href=\"#").skip(1) {
            let target = link.split('"').next().expect("one part");
            assert!(page.contains(&format!("id=\"{target}\"")), "nothing is at #{target}");
        }
    }

    #[test]
    fn what_is_no_markup_is_not_taken_for_it() {
        assert_eq!(escape("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
        assert_eq!(markdown("`a` <b>"), "<p><code>a</code> &lt;b&gt;</p>\n");
    }
}
