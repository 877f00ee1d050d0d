//! An export as a stream of messages, the next page read while one is being sent.

use tokio_util::sync::CancellationToken;

use super::convert::document::document_to_input;
use super::pages::Pages;
use super::pb;
use crate::engine::export::Export;
use crate::types::{Document, Error, Result};

/// Sends the documents, then `complete`; `unavailable` at shutdown. Ending it frees the snapshot.
pub(super) async fn send(
    mut export: Export,
    pages: Pages<pb::ExportDocumentsResponse>,
    shutdown: CancellationToken,
) -> Result<()> {
    loop {
        let documents = tokio::select! {
            biased;
            () = pages.left() => return Ok(()),
            () = shutdown.cancelled() => {
                return Err(Error::unavailable("the server is shutting down"));
            }
            next = export.next() => next?,
        };
        match documents {
            Some(documents) => pages.send(documents.into_iter().map(document).collect()).await?,
            None => return pages.send(vec![complete(&export)]).await,
        }
    }
}

fn document(document: Document) -> pb::ExportDocumentsResponse {
    let item = pb::export_documents_response::Item::Document(document_to_input(document));
    pb::ExportDocumentsResponse { item: Some(item) }
}

fn complete(export: &Export) -> pb::ExportDocumentsResponse {
    let complete = pb::ExportComplete {
        total_documents: export.total_documents(),
        cursor: export.cursor().to_string(),
    };
    let item = pb::export_documents_response::Item::Complete(complete);
    pb::ExportDocumentsResponse { item: Some(item) }
}
