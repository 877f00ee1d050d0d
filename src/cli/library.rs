//! `arrwdb library`: creates, lists, reads, changes and deletes libraries.

use prost_types::FieldMask;
use serde_json::{Map, Value};

use super::connect::{Connection, ServerArgs};
use super::output::{Output, excerpt};
use super::{Failure, json};
use crate::api::grpc::pb;
use crate::api::grpc::values::{index_type_to_pb, metadata_to_pb, metric_to_pb};
use crate::types::{Error, IndexType, Limits, Metadata, Metric, Result};

/// What to do with libraries.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Create a library
    Create(CreateArgs),
    /// List all libraries by name; with --json one a line
    List(ListArgs),
    /// Show a library
    Get(OneArgs),
    /// Change a library's name, description or metadata
    Update(UpdateArgs),
    /// Delete a library with everything in it
    Delete(DeleteArgs),
}

/// How a library is to be made.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct NewArgs {
    /// For people
    #[arg(long, default_value = "", hide_default_value = true)]
    description: String,
    /// How nearness is measured: cosine, dot or l2
    #[arg(long, default_value = "cosine", value_parser = Metric::parse)]
    metric: Metric,
    /// Numbers a vector; required with --embedder none
    #[arg(long, value_name = "NUMBERS")]
    dimension: Option<u32>,
    /// An embedder that the server has; `none` where clients bring their vectors
    #[arg(long, default_value = "default", value_name = "NAME")]
    embedder: String,
    /// Kind of index: auto, flat or hnsw
    #[arg(long, default_value = "auto", value_parser = IndexType::parse, value_name = "TYPE")]
    index_type: IndexType,
    /// A JSON object of your own
    #[arg(long, value_name = "JSON", value_parser = metadata)]
    metadata: Option<Metadata>,
}

impl NewArgs {
    /// The request for a library of this name.
    pub(super) fn into_request(self, name: String) -> pb::CreateLibraryRequest {
        pb::CreateLibraryRequest {
            name,
            description: self.description,
            metric: metric_to_pb(self.metric).into(),
            embedder: self.embedder,
            dimension: self.dimension,
            index_type: index_type_to_pb(self.index_type).into(),
            metadata: self.metadata.as_ref().map(metadata_to_pb),
            request_id: String::new(),
        }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    /// Its name, unique on the server
    name: String,
    #[command(flatten)]
    new: NewArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct OneArgs {
    /// The library, by name or id
    library: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, clap::Args)]
#[group(id = "changes", required = true, multiple = true, args = ["name", "description", "metadata"])]
pub(super) struct UpdateArgs {
    /// The library, by name or id
    library: String,
    /// Its new name
    #[arg(long)]
    name: Option<String>,
    /// Its new description; empty takes it away
    #[arg(long)]
    description: Option<String>,
    /// Its new metadata, a JSON object
    #[arg(long, value_name = "JSON", value_parser = metadata)]
    metadata: Option<Metadata>,
    /// Change it only if it is at this revision
    #[arg(long, value_name = "REVISION")]
    expected_revision: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct DeleteArgs {
    /// The library, by name or id
    library: String,
    /// Delete it only if it is at this revision
    #[arg(long, value_name = "REVISION")]
    expected_revision: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// A JSON object on the command line. How large it may be is the server's to say.
fn metadata(text: &str) -> Result<Metadata> {
    let object: Map<String, Value> = serde_json::from_str(text)
        .map_err(|_| Error::invalid("metadata", "must be a JSON object"))?;
    let limits = Limits { metadata_bytes_max: usize::MAX, ..Limits::default() };
    Metadata::new("metadata", object, &limits)
}

/// Does it and prints what the server answers.
pub(super) async fn run(command: Command) -> Result<(), Failure> {
    let mut out = Output::new();
    match command {
        Command::Create(args) => {
            let server = Connection::open(&args.server).await?;
            let library = create(&server, args.new.into_request(args.name)).await?;
            out.answer(args.json, &json::library(library))?;
        }
        Command::List(args) => list(&args, &mut out).await?,
        Command::Get(args) => {
            let server = Connection::open(&args.server).await?;
            let library = get(&server, args.library).await?;
            out.answer(args.json, &json::library(library))?;
        }
        Command::Update(args) => {
            let (server, json) = (Connection::open(&args.server).await?, args.json);
            let reply =
                server.answer(server.libraries().update_library(args.into_request())).await?;
            out.answer(json, &json::library(reply.library.unwrap_or_default()))?;
        }
        Command::Delete(args) => {
            let server = Connection::open(&args.server).await?;
            let request = pb::DeleteLibraryRequest {
                library_id: args.library,
                expected_revision: args.expected_revision,
            };
            let reply = server.answer(server.libraries().delete_library(request)).await?;
            out.answer(args.json, &json::revised(reply.revision))?;
        }
    }
    out.flush()
}

/// Creates a library.
pub(super) async fn create(
    server: &Connection,
    request: pb::CreateLibraryRequest,
) -> Result<pb::Library> {
    let reply = server.answer(server.libraries().create_library(request)).await?;
    Ok(reply.library.unwrap_or_default())
}

/// Reads a library, by name or id.
pub(super) async fn get(server: &Connection, library: String) -> Result<pb::Library> {
    let request = pb::GetLibraryRequest { library_id: library, ..Default::default() };
    let reply = server.answer(server.libraries().get_library(request)).await?;
    Ok(reply.library.unwrap_or_default())
}

async fn list(args: &ListArgs, out: &mut Output) -> Result<(), Failure> {
    let server = Connection::open(&args.server).await?;
    let heads = ["NAME", "DOCUMENTS", "CHUNKS", "METRIC", "DIMENSION", "EMBEDDER", "DESCRIPTION"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let mut page_token = String::new();
    loop {
        let request = pb::ListLibrariesRequest { page_token, ..Default::default() };
        let page = server.answer(server.libraries().list_libraries(request)).await?;
        for library in page.libraries {
            if args.json {
                out.json(&json::library(library))?;
                continue;
            }
            let description = excerpt(&library.description, 40);
            let embedder = library.embedder.clone().unwrap_or_default().id;
            let (documents, chunks) = (library.num_documents, library.num_chunks);
            let (name, dimension) = (excerpt(&library.name, 128), library.dimension);
            let metric = json::library(library).text("metric").to_owned();
            let numbers = [documents.to_string(), chunks.to_string(), metric];
            let rest = [dimension.to_string(), embedder, description];
            rows.push([name].into_iter().chain(numbers).chain(rest).collect());
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if !args.json {
        out.table(&rows)?;
    }
    Ok(())
}

impl UpdateArgs {
    fn into_request(self) -> pb::UpdateLibraryRequest {
        let given = [
            ("name", self.name.is_some()),
            ("description", self.description.is_some()),
            ("metadata", self.metadata.is_some()),
        ];
        let paths = given.iter().filter(|(_, given)| *given).map(|(name, _)| (*name).to_owned());
        pb::UpdateLibraryRequest {
            library_id: self.library,
            update_mask: Some(FieldMask { paths: paths.collect() }),
            expected_revision: self.expected_revision,
            library: Some(pb::Library {
                name: self.name.unwrap_or_default(),
                description: self.description.unwrap_or_default(),
                metadata: self.metadata.as_ref().map(metadata_to_pb),
                ..Default::default()
            }),
        }
    }
}
