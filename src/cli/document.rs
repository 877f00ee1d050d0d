//! `arrwdb document`: reads, lists and deletes single documents. They are written by `ingest`.

use super::connect::{Connection, ServerArgs};
use super::output::{Output, counted, excerpt};
use super::{Failure, json};
use crate::api::grpc::pb;

/// What to do with documents.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show a document with its chunks
    Get(OneArgs),
    /// List a library's documents in the order of their creation; with --json one a line
    List(ListArgs),
    /// Delete a document
    Delete(DeleteArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct OneArgs {
    /// The library, by name or id
    library: String,
    /// The document's id
    id: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// The library, by name or id
    library: String,
    /// End after so many documents
    #[arg(long, value_name = "DOCUMENTS")]
    limit: Option<u64>,
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
    /// The document's id
    id: String,
    /// Delete it only if it is at this revision
    #[arg(long, value_name = "REVISION")]
    expected_revision: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Does it and prints what the server answers.
pub(super) async fn run(command: Command) -> Result<(), Failure> {
    let mut out = Output::new();
    match command {
        Command::Get(args) => {
            let server = Connection::open(&args.server).await?;
            let request = pb::GetDocumentRequest {
                library_id: args.library,
                document_id: args.id,
                ..Default::default()
            };
            let reply = server.answer(server.documents().get_document(request)).await?;
            out.answer(args.json, &json::document(reply.document.unwrap_or_default(), true))?;
        }
        Command::List(args) => list(&args, &mut out).await?,
        Command::Delete(args) => {
            let server = Connection::open(&args.server).await?;
            let request = pb::DeleteDocumentRequest {
                library_id: args.library,
                document_id: args.id,
                expected_revision: args.expected_revision,
            };
            let reply = server.answer(server.documents().delete_document(request)).await?;
            out.answer(args.json, &json::revised(reply.revision))?;
        }
    }
    out.flush()
}

async fn list(args: &ListArgs, out: &mut Output) -> Result<(), Failure> {
    let server = Connection::open(&args.server).await?;
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut page_token = String::new();
    while left > 0 {
        let request = pb::ListDocumentsRequest {
            library_id: args.library.clone(),
            page_size: u32::try_from(left).unwrap_or(u32::MAX),
            page_token,
            ..Default::default()
        };
        let page = server.answer(server.documents().list_documents(request)).await?;
        left = left.saturating_sub(page.documents.len() as u64);
        // Pages are printed as they come, so columns are as wide as those of a page.
        let mut rows = Vec::new();
        for document in page.documents {
            if args.json {
                out.json(&json::document(document, false))?;
                continue;
            }
            let chunks = counted(document.num_chunks.into(), "chunk");
            rows.push(vec![document.id, chunks, excerpt(&document.title, 80)]);
        }
        out.table(&rows)?;
        out.flush()?;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(())
}
