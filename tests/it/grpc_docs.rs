//! `docs/API.md` is what the comments of the protos say.
//!
//! With `ARRWDB_WRITE_GOLDEN` set it is written anew when it differs, and the test fails once.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use arrwdb::api::grpc::pb::DESCRIPTORS;
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet, ServiceDescriptorProto,
};

use crate::harness::repository;

const PAGE: &str = "docs/API.md";
const PACKAGE: &str = "arrwdb.v1";

/// What the page begins with; the rest is the protos'.
const BEGIN: &str = "\
# The gRPC services

Package `arrwdb.v1`, on the one port, which serves gRPC (HTTP/2 without TLS) and gRPC-web. Reflection (v1 and v1alpha)
and `grpc.health.v1` are on. This page is made of the comments of [`proto/arrwdb/v1`](../proto/arrwdb/v1);
[clients/README.md](../clients/README.md) shows the services at work by grpcurl, and `/docs` of a running server is the
same for HTTP.

A library is named by its id or its name wherever `library_id` stands. Every write is durable and searchable when it is
answered. Errors are statuses with `google.rpc.ErrorInfo` (its `reason` is the slug in UPPER_SNAKE, its `domain`
`arrwdb`, and `floor_cursor` in its `metadata` where there is one), `BadRequest` with the fields that are wrong, and
`RetryInfo` where a retry is worth it:

| slug | code | | slug | code |
|---|---|---|---|---|
";

/// Numbers of fields in descriptors, as paths of comments name them.
mod place {
    pub(super) const MESSAGE: i32 = 4;
    pub(super) const ENUM: i32 = 5;
    pub(super) const SERVICE: i32 = 6;
    /// Of a field in a message, a value in an enum, a method in a service.
    pub(super) const MEMBER: i32 = 2;
}

/// A file with its comments by path.
struct File {
    file: FileDescriptorProto,
    comments: BTreeMap<Vec<i32>, String>,
}

impl File {
    fn new(file: FileDescriptorProto) -> Self {
        let locations = file.source_code_info.iter().flat_map(|info| &info.location);
        let comments = locations
            .filter_map(|at| Some((at.path.clone(), at.leading_comments.as_ref()?)))
            .map(|(path, comment)| (path, paragraph(comment)))
            .collect();
        Self { file, comments }
    }

    /// What stands above a thing; every thing of ours has something.
    fn comment(&self, path: &[usize]) -> &str {
        let path: Vec<i32> = path.iter().map(|step| i32::try_from(*step).expect("few")).collect();
        let comment = self.comments.get(&path);
        comment.unwrap_or_else(|| panic!("{}: nothing stands above {path:?}", self.file.name()))
    }

    fn at(kind: i32, index: usize) -> [usize; 2] {
        [usize::try_from(kind).expect("positive"), index]
    }
}

/// A comment as one line.
fn paragraph(comment: &str) -> String {
    comment.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn files() -> Vec<File> {
    let set = FileDescriptorSet::decode(DESCRIPTORS).expect("a descriptor set");
    let mut files: Vec<_> =
        set.file.into_iter().filter(|f| f.package() == PACKAGE).map(File::new).collect();
    files.sort_by_key(|a| order(a.file.name()));
    files
}

/// Services first, in the order in which one meets them; then what they share.
fn order(name: &str) -> (usize, String) {
    let known = ["library", "document", "search", "index", "event", "consumer"];
    let stem = name.rsplit('/').next().expect("one part").trim_end_matches(".proto");
    let place = known.iter().position(|word| Some(*word) == stem.strip_suffix("_service"));
    (place.unwrap_or(known.len()), stem.to_owned())
}

/// A link to a message or enum of ours, or a name of others'.
fn linked(type_name: &str) -> String {
    let name = type_name.trim_start_matches('.');
    match name.strip_prefix(PACKAGE).and_then(|name| name.strip_prefix('.')) {
        Some(ours) => format!("[{ours}](#{})", ours.to_lowercase()),
        None => format!("`{name}`"),
    }
}

fn type_of(field: &FieldDescriptorProto) -> String {
    let name = match field.r#type() {
        Type::Message | Type::Enum => linked(field.type_name()),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    match field.label() {
        Label::Repeated => format!("repeated {name}"),
        _ if field.proto3_optional() => format!("optional {name}"),
        _ => name,
    }
}

fn write_service(page: &mut String, file: &File, index: usize, service: &ServiceDescriptorProto) {
    let at = File::at(place::SERVICE, index);
    writeln!(page, "\n## {}\n\n{}", service.name(), file.comment(&at)).expect("written");
    for (i, method) in service.method.iter().enumerate() {
        let stream = |is: bool| if is { "stream of " } else { "" };
        let member = File::at(place::MEMBER, i);
        write!(
            page,
            "\n### {}.{}\n\n{}{} → {}{}\n\n{}\n",
            service.name(),
            method.name(),
            stream(method.client_streaming()),
            linked(method.input_type()),
            stream(method.server_streaming()),
            linked(method.output_type()),
            file.comment(&[at, member].concat())
        )
        .expect("written");
    }
}

fn write_message(page: &mut String, file: &File, index: usize, message: &DescriptorProto) {
    assert!(message.nested_type.is_empty(), "{}: nested types have no place", message.name());
    let at = File::at(place::MESSAGE, index);
    writeln!(page, "\n### {}\n\n{}", message.name(), file.comment(&at)).expect("written");
    if message.field.is_empty() {
        return;
    }
    page.push_str("\n| field | type | |\n|---|---|---|\n");
    for (i, field) in message.field.iter().enumerate() {
        let one_of = field.oneof_index.filter(|_| !field.proto3_optional()).map(|i| {
            let i = usize::try_from(i).expect("positive");
            format!("one of `{}`: ", message.oneof_decl[i].name())
        });
        let about = file.comment(&[at, File::at(place::MEMBER, i)].concat());
        let (name, kind) = (field.name(), type_of(field));
        let one_of = one_of.unwrap_or_default();
        writeln!(page, "| `{name}` | {one_of}{kind} | {} |", cell(about)).expect("written");
    }
}

fn write_enum(page: &mut String, file: &File, index: usize, names: &EnumDescriptorProto) {
    let at = File::at(place::ENUM, index);
    writeln!(page, "\n### {}\n\n{}\n", names.name(), file.comment(&at)).expect("written");
    page.push_str("| value | |\n|---|---|\n");
    for (i, value) in names.value.iter().enumerate() {
        let about = file.comment(&[at, File::at(place::MEMBER, i)].concat());
        writeln!(page, "| `{}` | {} |", value.name(), cell(about)).expect("written");
    }
}

/// A text that may stand in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn write_faults(page: &mut String) {
    use arrwdb::api::fault::Fault;
    use arrwdb::types::ErrorKind;
    let kinds = ErrorKind::ALL;
    let row = |kind: Option<&ErrorKind>| match kind.map(|kind| Fault::of(*kind)) {
        Some(fault) => format!("`{}` | {:?}", fault.slug, fault.code),
        None => " | ".to_owned(),
    };
    let half = kinds.len().div_ceil(2);
    for i in 0..half {
        let (left, right) = (row(kinds.get(i)), row(kinds.get(half + i)));
        writeln!(page, "| {left} | | {right} |").expect("written");
    }
}

fn made() -> String {
    let mut page = BEGIN.to_owned();
    write_faults(&mut page);
    let files = files();
    assert!(files.len() > 5, "the protos are missing");
    for file in &files {
        for (i, service) in file.file.service.iter().enumerate() {
            write_service(&mut page, file, i, service);
        }
        if file.file.service.is_empty() {
            let stem = file.file.name().rsplit('/').next().expect("one part");
            writeln!(page, "\n## {stem}").expect("written");
        }
        for (i, message) in file.file.message_type.iter().enumerate() {
            write_message(&mut page, file, i, message);
        }
        for (i, names) in file.file.enum_type.iter().enumerate() {
            write_enum(&mut page, file, i, names);
        }
    }
    page
}

#[test]
fn the_page_of_grpc_is_what_the_protos_say() {
    let made = made();
    let path = repository(PAGE);
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    if made == kept {
        return;
    }
    let write = std::env::var_os("ARRWDB_WRITE_GOLDEN").is_some();
    assert!(write, "{PAGE} is stale: ARRWDB_WRITE_GOLDEN=1 writes it anew");
    std::fs::write(path, made).expect("written");
    panic!("{PAGE} is written anew: look at it");
}
