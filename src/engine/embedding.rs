//! Vectors for texts: which embedder a library has, and what its failures mean to a caller.

use std::sync::Arc;

use super::Inner;
use super::document::PreparedChunk;
use super::split::split;
use crate::embed::{EmbedError, Embedder, Purpose};
use crate::types::{
    EmbedderRef, Error, ErrorKind, Library, NewChunk, NewContent, NewLibrary, Result, Vector,
};

impl Inner {
    /// The model and dimension that a new library gets.
    pub(super) fn choose_embedder(&self, new: &NewLibrary) -> Result<(EmbedderRef, u32)> {
        if new.embedder == EmbedderRef::NONE {
            let Some(dimension) = new.dimension else {
                let detail = "must be given when the embedder is none";
                return Err(Error::invalid("dimension", detail));
            };
            let model = EmbedderRef { id: EmbedderRef::NONE.to_owned(), sha256: String::new() };
            return Ok((model, dimension));
        }
        let known = self.embedders.iter().find(|(name, _)| *name == new.embedder);
        let Some((_, embedder)) = known else {
            let names: Vec<_> = self.embedders.iter().map(|(name, _)| name.as_str()).collect();
            let detail = format!("must be {} or none", names.join(", "));
            return Err(Error::invalid("embedder", detail));
        };
        let dimension = u32::try_from(embedder.dimension()).unwrap_or(u32::MAX);
        match new.dimension {
            Some(other) if other != dimension => Err(Error::invalid(
                "dimension",
                format!(
                    "is {other}; the embedder {} gives {dimension}: leave it out",
                    new.embedder
                ),
            )),
            _ => Ok((embedder.model().clone(), dimension)),
        }
    }

    /// The embedder of a library's model, if this server has it.
    fn embedder(&self, library: &Library) -> Option<&Arc<dyn Embedder>> {
        let found = self.embedders.iter().find(|(_, e)| *e.model() == library.embedder);
        found.map(|(_, embedder)| embedder)
    }

    /// Whether a text can be a query at all: `invalid-argument` when it is blank or the library
    /// has no texts to find, `too-large` beyond `limits.text_bytes_max`.
    pub(super) fn check_query(&self, library: &Library, text: &str) -> Result<()> {
        if text.trim().is_empty() {
            return Err(Error::invalid("query", "must not be blank"));
        }
        let (is, most) = (text.len(), self.limits.text_bytes_max);
        if is > most {
            let detail = format!("is {is} bytes; at most {most} (text_bytes_max)");
            return Err(Error::too_large("query", detail));
        }
        match library.embedder.is_none() {
            true => Err(no_embedder(library, "query", "search with `embedding` instead")),
            false => Ok(()),
        }
    }

    /// The vector of a text query.
    pub(super) async fn embed_query(&self, library: &Library, text: String) -> Result<Vector> {
        let Some(embedder) = self.embedder(library) else {
            let instead = "search with `embedding`, or with `mode` text";
            return Err(no_embedder(library, "query", instead));
        };
        let vectors = embedder.embed(Purpose::Query, vec![text.into()]).await;
        let vector = vectors.map_err(|error| embed_error(error, &|_| "query".to_owned()))?;
        let values = vector.into_iter().next().unwrap_or_default();
        Vector::new("query", values, library.dimension as usize, library.metric)
    }

    /// Splits, embeds, reads and checks what a client wants a document to say under this title.
    pub(super) async fn prepare_content(
        &self,
        library: &Library,
        title: &str,
        field: &str,
        content: NewContent,
    ) -> Result<Vec<PreparedChunk>> {
        let (chunks, split_by_server) = match content {
            NewContent::Chunks(chunks) => (chunks, false),
            NewContent::Text(text) => (self.split(field, text).await?, true),
        };
        let path = |index: usize| match split_by_server {
            true => field.to_owned(),
            false => format!("{field}[{index}]"),
        };
        let texts: Vec<Arc<str>> = chunks.iter().map(|chunk| chunk.text.as_str().into()).collect();
        let without =
            |(place, chunk): (usize, &NewChunk)| chunk.embedding.is_none().then_some(place);
        let places: Vec<usize> = chunks.iter().enumerate().filter_map(without).collect();
        let to_embed = places.iter().map(|place| Arc::clone(&texts[*place])).collect();
        let place_path = |index: usize| path(places[index]);
        let (embedded, terms) = tokio::try_join!(
            self.embed_texts(library, to_embed, &place_path),
            self.read_terms(library, title, texts.clone()),
        )?;
        let mut embedded = embedded.into_iter();
        let read = texts.into_iter().zip(terms);
        let prepare = |(place, (chunk, (text, terms))): (usize, (NewChunk, (_, _)))| {
            let (name, values) = match chunk.embedding {
                Some(values) => (format!("{}.embedding", path(place)), values),
                None => (path(place), embedded.next().unwrap_or_default()),
            };
            let dimension = library.dimension as usize;
            let vector = Vector::new(&name, values, dimension, library.metric)?;
            Ok(PreparedChunk { text, vector, metadata: chunk.metadata, terms })
        };
        chunks.into_iter().zip(read).enumerate().map(prepare).collect()
    }

    async fn split(&self, field: &str, text: String) -> Result<Vec<NewChunk>> {
        let target = self.limits.chunk_characters_target;
        let texts = match text.chars().count() <= target {
            // The usual case is not worth a thread.
            true => split(&text, target),
            false => tokio::task::spawn_blocking(move || split(&text, target))
                .await
                .map_err(|_| Error::internal("splitting a text panicked"))?,
        };
        let content = NewContent::texts(texts);
        content.check(field, &self.limits)?;
        match content {
            NewContent::Chunks(chunks) => Ok(chunks),
            NewContent::Text(_) => Ok(Vec::new()),
        }
    }

    async fn embed_texts(
        &self,
        library: &Library,
        texts: Vec<Arc<str>>,
        path: &(dyn Fn(usize) -> String + Sync),
    ) -> Result<Vec<Vec<f32>>> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let Some(embedder) = self.embedder(library) else {
            return Err(no_embedder(library, &path(0), "send `chunks`, each with its `embedding`"));
        };
        let vectors = embedder.embed(Purpose::Document, texts).await;
        vectors.map_err(|error| embed_error(error, path))
    }
}

fn no_embedder(library: &Library, field: &str, instead: &str) -> Error {
    let (name, model) = (&library.name, &library.embedder.id);
    if library.embedder.is_none() {
        let detail = format!("library {name} has no embedder: {instead}");
        return Error::invalid(field, detail);
    }
    let detail = format!(
        "{field}: library {name} was made with the model {model}, which this server does not \
         have: start it with that model, or {instead}"
    );
    Error::new(ErrorKind::FailedPrecondition, detail)
}

fn embed_error(error: EmbedError, path: &dyn Fn(usize) -> String) -> Error {
    match error {
        EmbedError::Text { index, reason } => Error::invalid(path(index), reason),
        EmbedError::Unavailable { reason, retry_after } => {
            let mut error = Error::unavailable(format!("the embedder is not available: {reason}"));
            error.retry_after = retry_after;
            error
        }
        EmbedError::DeadlineExceeded(_) => {
            Error::new(ErrorKind::DeadlineExceeded, format!("the embedder gave {error}"))
        }
        EmbedError::Broken(reason) => {
            tracing::error!(reason, "the embedder answered nonsense");
            Error::unavailable("the embedder answered nonsense; see the server's log")
        }
    }
}
