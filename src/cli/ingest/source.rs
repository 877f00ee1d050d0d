//! What is to be ingested: files, folders and standard input as a stream of documents with ids.
//! Hides formats and the file system. Blocking; runs on a thread of its own.

use std::fs::File;
use std::io::{self, Read, Stdin};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;
use prost::Message;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use walkdir::WalkDir;

use super::super::Failure;
use super::markdown;
use crate::api::grpc::pb::DocumentInput;
use crate::api::grpc::values::new_document_to_pb;
use crate::api::http::ndjson::{ExportCheck, Line, Lines, Said, read_line};
use crate::types::{
    DocumentId, Error, ErrorKind, Limits, Metadata, NewContent, NewDocument, Result,
};

/// Bytes read from a file at once.
const READ_BYTES: usize = 256 << 10;
/// Documents that are read ahead: each may take a whole message.
pub(super) const READ_AHEAD: usize = 8;
/// What frames a document in a message, at most.
const FRAME_BYTES: usize = 16;
/// A longer line is no export's last one, which is some 120 bytes.
const CLOSING_BYTES_MAX: usize = 1 << 10;
/// Longest document id.
const ID_CHARACTERS_MAX: usize = 128;

/// How a file is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum Format {
    /// A document a line, as HTTP takes it and an export gives it
    Ndjson,
    /// One document: front matter, a heading, the text
    Markdown,
    /// One document: the text
    Text,
}

impl Format {
    /// By what a file's name ends with.
    fn of(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            "md" | "markdown" => Some(Self::Markdown),
            "txt" | "text" => Some(Self::Text),
            _ => None,
        }
    }
}

/// One place to read from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Input {
    /// `None`: standard input.
    path: Option<PathBuf>,
    format: Format,
    /// `None`: a pipe.
    num_bytes: Option<u64>,
}

/// Everything that is to be read, in order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    inputs: Vec<Input>,
    /// Files of folders that are of no known format.
    pub(super) num_unknown: usize,
    /// Whether each must be a whole export.
    exports: bool,
}

/// Where a document stands.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// As named on the command line, or found below what was; `-` for standard input.
    pub(super) file: Arc<str>,
    /// From 1; `None` where the file is the document.
    pub(super) line: Option<u64>,
}

/// A document that was read.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) place: Place,
    /// Of the input, up to and including it, since the one before.
    pub(super) num_bytes: u64,
    /// Has an id, a title and, if it can be sent, all else.
    pub(super) document: DocumentInput,
    /// Why it is not even sent.
    pub(super) error: Option<Error>,
}

/// What comes of reading.
#[derive(Debug)]
pub(super) enum Found {
    /// The next document.
    Item(Box<Item>),
    /// A file that is an export lacks its end.
    Truncated(Arc<str>),
}

impl Plan {
    /// Looks at the paths; an error for one that is not there, or whose format must be told.
    pub(super) fn new(paths: &[PathBuf], format: Option<Format>) -> Result<Self, Failure> {
        let mut plan = Self::default();
        for path in paths {
            if path.as_os_str() == "-" {
                plan.add_stdin(format)?;
                continue;
            }
            let told = |error: io::Error| format!("{}: {error}", path.display());
            let metadata = std::fs::metadata(path).map_err(told)?;
            if metadata.is_dir() {
                plan.add_folder(path, format)?;
                continue;
            }
            let format = format.or_else(|| Format::of(path)).ok_or_else(|| {
                let detail = "say what it is with --format ndjson, markdown or text";
                Error::invalid(path.display().to_string(), detail)
            })?;
            let num_bytes = metadata.is_file().then_some(metadata.len());
            plan.inputs.push(Input { path: Some(path.clone()), format, num_bytes });
        }
        Ok(plan)
    }

    /// One file that must be a whole export. Reads it through, unless it is a pipe, and says so if
    /// it is not.
    pub(super) fn export(path: &Path) -> Result<Self, Failure> {
        let mut plan = Self::new(&[path.to_owned()], Some(Format::Ndjson))?;
        plan.exports = true;
        if plan.num_bytes().is_some() {
            let told = |error: io::Error| format!("{}: {error}", path.display());
            check_export(path).map_err(told)??;
        }
        Ok(plan)
    }

    /// Bytes of all files; `None` when there is something of unknown length.
    pub(super) fn num_bytes(&self) -> Option<u64> {
        self.inputs.iter().map(|input| input.num_bytes).sum()
    }

    /// Whether there is nothing to read.
    pub(super) fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }

    fn add_stdin(&mut self, format: Option<Format>) -> Result<()> {
        match format {
            None | Some(Format::Ndjson) => {
                self.inputs.push(Input { path: None, format: Format::Ndjson, num_bytes: None });
                Ok(())
            }
            Some(Format::Markdown | Format::Text) => {
                Err(Error::invalid("--format", "standard input is read as NDJSON only"))
            }
        }
    }

    /// Files below a folder by name, without what is hidden; links are not followed.
    fn add_folder(&mut self, folder: &Path, format: Option<Format>) -> Result<(), Failure> {
        let is_hidden = |name: &str| name.starts_with('.') && name != "." && name != "..";
        let entries = WalkDir::new(folder).sort_by_file_name().into_iter().filter_entry(|entry| {
            entry.depth() == 0 || !entry.file_name().to_str().is_some_and(is_hidden)
        });
        for entry in entries {
            let entry = entry?;
            if !entry.file_type().is_file() {
                continue;
            }
            // A format that is told goes for the files that would be read anyway.
            match Format::of(entry.path()) {
                Some(known) => {
                    let num_bytes = Some(entry.metadata()?.len());
                    let format = format.unwrap_or(known);
                    self.inputs.push(Input { path: Some(entry.into_path()), format, num_bytes });
                }
                None => self.num_unknown += 1,
            }
        }
        Ok(())
    }

    /// Reads everything, until nobody takes it any more.
    pub(super) fn read(self, message_bytes_max: usize, found: &mpsc::Sender<Found>) {
        let reader = Reader { limits: limits(message_bytes_max), exports: self.exports, found };
        for input in self.inputs {
            // An error is that nobody takes what is found.
            if reader.read(input).is_err() {
                return;
            }
        }
    }
}

/// What the server allows is the server's to say; only what would end the stream is checked here.
fn limits(message_bytes_max: usize) -> Limits {
    Limits {
        message_bytes_max,
        metadata_bytes_max: usize::MAX,
        metadata_levels_max: usize::MAX,
        ..Limits::default()
    }
}

/// Whether a file is a whole export, so that nothing is written of one that is not.
fn check_export(path: &Path) -> io::Result<Result<()>> {
    let limits = Limits::default();
    let mut file = File::open(path)?;
    let mut lines = Lines::new(CLOSING_BYTES_MAX);
    // Several exports may stand behind each other.
    let (mut documents, mut is_ended, mut wrong) = (0_u64, false, None);
    loop {
        let piece = read_piece(&mut file)?;
        let at_end = piece.is_none();
        lines.feed(piece.unwrap_or_default().freeze());
        while let Some(line) = next_line(&mut lines, at_end) {
            is_ended = false;
            match read_line(&line, &limits) {
                Said::ExportEnd(total) => {
                    is_ended = true;
                    wrong = wrong.or(Some((total, documents)).filter(|_| total != documents));
                    documents = 0;
                }
                Said::Document(..) | Said::Rejected { .. } => documents += 1,
            }
        }
        if at_end {
            break;
        }
    }
    let truncated = |detail: String| {
        let kind = ErrorKind::FailedPrecondition;
        Err(Error::new(kind, format!("{}: the export is truncated: {detail}", path.display())))
    };
    Ok(match wrong {
        _ if !is_ended => truncated("its closing line is missing; nothing was written".to_owned()),
        Some((total, counted)) => truncated(format!(
            "it has {counted} documents, its closing line says {total}; nothing was written"
        )),
        None => Ok(()),
    })
}

fn next_line(lines: &mut Lines, at_end: bool) -> Option<Line> {
    lines.next().or_else(|| if at_end { lines.finish() } else { None })
}

fn read_piece(source: &mut impl Read) -> io::Result<Option<BytesMut>> {
    let mut piece = BytesMut::zeroed(READ_BYTES);
    let length = loop {
        match source.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    piece.truncate(length);
    Ok((length > 0).then_some(piece))
}

/// What is not even sent.
fn refused(place: Place, num_bytes: u64, title: String, error: Error) -> Found {
    let document = DocumentInput { title, ..Default::default() };
    Found::Item(Box::new(Item { place, num_bytes, document, error: Some(error) }))
}

/// Nobody takes what is found.
struct Gone;

struct Reader<'a> {
    limits: Limits,
    exports: bool,
    found: &'a mpsc::Sender<Found>,
}

enum Opened {
    File(File),
    Stdin(Stdin),
}

impl Read for Opened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Stdin(stdin) => stdin.read(buffer),
        }
    }
}

impl Reader<'_> {
    fn read(&self, input: Input) -> Result<(), Gone> {
        let file: Arc<str> = match &input.path {
            Some(path) => path.to_string_lossy().into(),
            None => "-".into(),
        };
        let opened = match &input.path {
            Some(path) => File::open(path).map(Opened::File),
            None => Ok(Opened::Stdin(io::stdin())),
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                return self.unreadable(&file, None, input.num_bytes.unwrap_or(0), &error);
            }
        };
        match (input.format, input.path) {
            (Format::Ndjson, _) | (_, None) => self.read_lines(&file, opened),
            (format, Some(path)) => self.read_whole(&file, &path, opened, format),
        }
    }

    fn read_lines(&self, file: &Arc<str>, mut source: Opened) -> Result<(), Gone> {
        let mut lines = Lines::new(self.limits.message_bytes_max);
        let mut check = ExportCheck::default();
        let (mut position, mut is_ended, mut untold) = (0, false, 0);
        loop {
            let piece = match read_piece(&mut source) {
                Ok(piece) => piece,
                Err(error) => {
                    self.unreadable(file, Some(position + 1), 0, &error)?;
                    break;
                }
            };
            let at_end = piece.is_none();
            untold += piece.as_ref().map_or(0, |piece| piece.len() as u64);
            lines.feed(piece.unwrap_or_default().freeze());
            while let Some(line) = next_line(&mut lines, at_end) {
                position = line.position;
                let num_bytes = (line.bytes.len() as u64 + 1).min(untold);
                untold -= num_bytes;
                let said = read_line(&line, &self.limits);
                check.see(&said);
                is_ended = matches!(said, Said::ExportEnd(_));
                self.say(file, position, num_bytes, said)?;
            }
            if at_end {
                break;
            }
        }
        if check.is_truncated() || (self.exports && !is_ended) {
            return self.send(Found::Truncated(Arc::clone(file)));
        }
        Ok(())
    }

    fn say(&self, file: &Arc<str>, line: u64, num_bytes: u64, said: Said) -> Result<(), Gone> {
        let place = Place { file: Arc::clone(file), line: Some(line) };
        match said {
            Said::ExportEnd(_) => Ok(()),
            Said::Document(document, _) => self.send(self.item(place, num_bytes, *document)),
            Said::Rejected { title, error, .. } => {
                self.send(refused(place, num_bytes, title, error))
            }
        }
    }

    fn read_whole(
        &self,
        file: &Arc<str>,
        path: &Path,
        source: Opened,
        format: Format,
    ) -> Result<(), Gone> {
        let most = self.limits.message_bytes_max;
        let mut bytes = Vec::new();
        if let Err(error) = source.take(most as u64 + 1).read_to_end(&mut bytes) {
            return self.unreadable(file, None, 0, &error);
        }
        let num_bytes = bytes.len() as u64;
        let place = Place { file: Arc::clone(file), line: None };
        let read = match bytes.len() > most {
            true => Err(Error::too_large("text", format!("is longer than {most} bytes"))),
            false => document(path, bytes, format, &self.limits),
        };
        match read {
            Ok(document) => self.send(self.item(place, num_bytes, document)),
            Err(error) => self.send(refused(place, num_bytes, name(path), error)),
        }
    }

    /// A document that is to be sent, if it fits into a message.
    fn item(&self, place: Place, num_bytes: u64, mut new: NewDocument) -> Found {
        // With an id, sending it twice is writing it once.
        new.id.get_or_insert_with(DocumentId::generate);
        let mut document = new_document_to_pb(new);
        let most = self.limits.message_bytes_max;
        let mut error = None;
        if document.encoded_len() + FRAME_BYTES > most {
            let detail = format!("is larger than {most} bytes (message_bytes_max)");
            error = Some(Error::too_large("document", detail));
            let DocumentInput { id, title, .. } = document;
            document = DocumentInput { id, title, ..Default::default() };
        }
        Found::Item(Box::new(Item { place, num_bytes, document, error }))
    }

    fn unreadable(
        &self,
        file: &Arc<str>,
        line: Option<u64>,
        num_bytes: u64,
        error: &io::Error,
    ) -> Result<(), Gone> {
        let place = Place { file: Arc::clone(file), line };
        let error = Error::invalid("file", format!("cannot be read: {error}"));
        self.send(refused(place, num_bytes, String::new(), error))
    }

    fn send(&self, found: Found) -> Result<(), Gone> {
        self.found.blocking_send(found).map_err(|_| Gone)
    }
}

/// A file that is one document. Its id is its path, so that reading it again replaces it.
fn document(path: &Path, bytes: Vec<u8>, format: Format, limits: &Limits) -> Result<NewDocument> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::invalid("text", format!("is not UTF-8 from byte {at} on"))
    })?;
    let text = match text.strip_prefix('\u{feff}') {
        Some(text) => text.to_owned(),
        None => text,
    };
    let mut new = NewDocument::titled(name(path), Vec::new());
    new.id = Some(id_of(path)?);
    new.source_url = url_of(path);
    new.content_field = "text";
    match format {
        Format::Markdown => {
            let markdown = markdown::read(&text)?;
            new.title = markdown.title.unwrap_or(new.title);
            new.author = markdown.author;
            new.tags = markdown.tags;
            new.metadata = Metadata::new("metadata", markdown.metadata, limits)?;
            new.content = NewContent::Text(markdown.body);
            "markdown".clone_into(&mut new.document_type);
        }
        Format::Text | Format::Ndjson => {
            new.content = NewContent::Text(text);
            "text".clone_into(&mut new.document_type);
        }
    }
    Ok(new)
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Where it is on this machine.
fn url_of(path: &Path) -> String {
    use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
    const IN_PATH: &AsciiSet = &CONTROLS.add(b' ').add(b'#').add(b'?').add(b'%');
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    format!("file://{}", utf8_percent_encode(&whole.to_string_lossy(), IN_PATH))
}

/// The path as it was named, without what says nothing: `./docs//a.md` is `docs/a.md`. One that
/// is no document id is made one: what may not stand there becomes `_`, and a digest of the path
/// keeps it apart from others.
fn id_of(path: &Path) -> Result<DocumentId> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_string_lossy()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    });
    let named = parts.collect::<Vec<_>>().join("/");
    if let Ok(id) = DocumentId::parse(&named) {
        return Ok(id);
    }
    let digest: String =
        Sha256::digest(&named).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let fits = |c: char| c.is_ascii_alphanumeric() || "._:/@-".contains(c);
    let cleaned: Vec<char> = named.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    let room = ID_CHARACTERS_MAX - digest.len() - 1;
    let end: String = cleaned[cleaned.len().saturating_sub(room)..].iter().collect();
    DocumentId::parse(&format!("{end}@{digest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(path: &str) -> String {
        id_of(Path::new(path)).expect("an id").as_str().to_owned()
    }

    #[test]
    fn a_paths_id_is_stable_and_its_own() {
        assert_eq!(id("./docs//a.md"), "docs/a.md");
        assert_eq!(id("docs/a.md"), "docs/a.md");
        assert_eq!(id("/var/a.md"), "var/a.md");
        assert_eq!(id("../a.md"), "../a.md");
        let (one, other) = (id("docs/ä b.md"), id("docs/ö b.md"));
        assert!(one.starts_with("docs/__b.md@") && one != other, "{one} {other}");
        let long = format!("{}/a.md", "x/".repeat(200));
        assert_eq!(id(&long).len(), ID_CHARACTERS_MAX);
        assert!(id(&long).contains("x/a.md@"), "{}", id(&long));
    }

    /// Everything that is found in a folder's files, read as a plan.
    fn found(plan: Plan, message_bytes_max: usize) -> Vec<Found> {
        let (sender, mut receiver) = mpsc::channel(READ_AHEAD);
        std::thread::spawn(move || plan.read(message_bytes_max, &sender));
        std::iter::from_fn(|| receiver.blocking_recv()).collect()
    }

    fn told(found: &[Found]) -> Vec<String> {
        let one = |found: &Found| match found {
            Found::Item(item) => {
                let line = item.place.line.map(|line| format!(":{line}")).unwrap_or_default();
                let error = item.error.as_ref().map(|error| format!(" {}", error.detail));
                let (title, error) = (&item.document.title, error.unwrap_or_default());
                let file = item.place.file.rsplit('/').next().unwrap_or_default();
                format!("{file}{line} {title}{error}")
            }
            Found::Truncated(_) => "truncated".to_owned(),
        };
        found.iter().map(one).collect()
    }

    #[test]
    fn a_folder_is_read_by_name_without_what_is_hidden_or_unknown() {
        let folder = tempfile::tempdir().expect("folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, text).expect("written");
        };
        write("b/2.md", "---\ntitle: Two\n---\nBody\n");
        write("a.txt", "\u{feff}text");
        write(
            "c.ndjson",
            "{\"title\":\"t\",\"text\":\"x\"}\nno\n\n{\"id\":\"i\",\"title\":\"u\",\"text\":\"x\"}",
        );
        write(".git/x.txt", "hidden");
        write("b/.x.md", "hidden");
        write("picture.png", "unknown");
        std::fs::write(folder.path().join("z.txt"), b"\xff").expect("written");
        let plan = Plan::new(&[folder.path().to_owned()], None).expect("a plan");
        assert_eq!(plan.num_unknown, 1);
        let (total, found) = (plan.num_bytes().expect("known"), found(plan, 1 << 20));
        assert_eq!(
            told(&found),
            [
                "a.txt a.txt",
                "2.md Two",
                "c.ndjson:1 t",
                "c.ndjson:2  is not JSON: expected ident at line 1 column 2",
                "c.ndjson:4 u",
                "z.txt z.txt text: is not UTF-8 from byte 0 on"
            ]
        );
        let items = found.iter().filter_map(|found| match found {
            Found::Item(item) => Some(item),
            Found::Truncated(_) => None,
        });
        let mut read = 0;
        for item in items {
            read += item.num_bytes;
            assert!(item.error.is_some() || !item.document.id.is_empty());
        }
        // A blank line and the last line's newline are no document's.
        assert!(read <= total && read + 2 >= total, "{read} of {total}");
    }

    #[test]
    fn what_no_message_holds_fails_alone() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("a.txt"), "x".repeat(2_000)).expect("written");
        let vector = format!("[{}1]", "1,".repeat(300));
        let line = format!("{{\"title\":\"t\",\"chunks\":[{{\"embedding\":{vector}}}]}}\n");
        std::fs::write(folder.path().join("b.ndjson"), line).expect("written");
        let plan = Plan::new(&[folder.path().to_owned()], None).expect("a plan");
        let told = told(&found(plan, 1_000));
        assert!(told[0].contains("is longer than 1000 bytes"), "{told:?}");
        assert!(told[1].contains("t document: is larger than 1000 bytes"), "{told:?}");
    }

    #[test]
    fn an_export_must_be_whole() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("e.ndjson");
        let line = "{\"id\":\"a\",\"title\":\"t\",\"chunks\":[{\"text\":\"x\"}]}\n";
        let end =
            |n| format!("{{\"status\":\"complete\",\"total_documents\":{n},\"cursor\":\"c\"}}\n");
        let plan = |text: String| {
            std::fs::write(&file, text).expect("written");
            Plan::export(&file).map(|plan| found(plan, 1 << 20).len()).map_err(|e| e.to_string())
        };
        assert_eq!(plan(format!("{line}{line}{}", end(2))), Ok(2));
        assert_eq!(plan(end(0)), Ok(0));
        for (text, why) in [
            (format!("{line}{line}"), "closing line is missing"),
            (format!("{line}{}{line}", end(1)), "closing line is missing"),
            (format!("{line}{}", end(2)), "1 documents, its closing line says 2"),
            (String::new(), "closing line is missing"),
            (format!("{line}{}", &end(1)[..20]), "closing line is missing"),
        ] {
            let error = plan(text.clone()).expect_err(&text);
            assert!(error.contains("truncated") && error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_at_once() {
        let plan =
            |path: &str, format| Plan::new(&[path.into()], format).map_err(|e| e.to_string());
        assert!(plan("/no/such/file", None).expect_err("no").contains("/no/such/file"));
        assert!(plan("Cargo.toml", None).expect_err("unknown").contains("--format"));
        assert!(plan("-", Some(Format::Text)).is_err());
        assert!(plan("-", None).is_ok_and(|plan| plan.num_bytes().is_none()));
    }
}
