//! The gRPC services: how `arrwdb.v1`, reflection and health look on the engine's verbs.
//!
//! An adapter and nothing more: it converts, calls one verb, converts back. What it owns is the
//! manners of streams: what is read while what is not yet taken.

mod consumers;
mod convert;
mod document;
mod events;
mod export;
mod framed;
mod health;
mod index;
mod ingest;
mod library;
mod pages;
pub mod pb;
mod search;
mod status;

use std::sync::Arc;

use prost::Message;
use tokio_util::task::TaskTracker;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic::{Response, Status};
use tonic_health::pb::health_server::HealthServer;

use crate::engine::Engine;
use crate::types::{Error, Result};

use health::Health;
use pb::consumer_service_server::ConsumerServiceServer;
use pb::document_service_server::DocumentServiceServer;
use pb::event_service_server::EventServiceServer;
use pb::index_service_server::IndexServiceServer;
use pb::library_service_server::LibraryServiceServer;
use pb::search_service_server::SearchServiceServer;
pub use status::{Told, from_status, to_status};

/// The conversions that a client in the same binary needs too.
pub mod values {
    pub use super::convert::document::new_document_to_pb;
    pub use super::convert::event::{event_type_from_pb, event_type_to_pb};
    pub use super::convert::library::{
        index_type_from_pb, index_type_to_pb, metric_from_pb, metric_to_pb,
    };
    pub use super::convert::{metadata_from_pb, metadata_to_pb, timestamp_from_pb};
}

/// Full names of the services that are served besides reflection and health.
pub const SERVICES: [&str; 6] = [
    "arrwdb.v1.LibraryService",
    "arrwdb.v1.DocumentService",
    "arrwdb.v1.SearchService",
    "arrwdb.v1.EventService",
    "arrwdb.v1.ConsumerService",
    "arrwdb.v1.IndexService",
];

/// Replies below this are sent as they are: compressing them costs more time than it saves.
const COMPRESSED_BYTES_MIN: usize = 16 << 10;

/// The adapter; each service is an `impl` in the file of its noun.
#[derive(Debug)]
struct Grpc {
    engine: Engine,
    /// Owns the tasks behind open streams.
    tasks: TaskTracker,
}

macro_rules! service {
    ($server:ident, $grpc:expr, $limits:expr) => {
        $server::from_arc(Arc::clone($grpc))
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
            .send_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Zstd)
            .max_decoding_message_size($limits.message_bytes_max)
            .max_encoding_message_size(usize::MAX)
    };
}

/// All gRPC services over one engine: `arrwdb.v1`, reflection (v1 and v1alpha), health.
///
/// `tasks` owns the tasks behind open streams: they end by themselves once the engine's shutdown
/// token is cancelled, and whoever drains waits for them. `internal` when the descriptor set that
/// was built in cannot be read.
pub fn routes(engine: &Engine, tasks: &TaskTracker) -> Result<Routes> {
    let grpc = Arc::new(Grpc { engine: engine.clone(), tasks: tasks.clone() });
    let limits = engine.limits();
    let broken = |error| Error::internal(format!("reflection: {error}"));
    Ok(Routes::new(service!(LibraryServiceServer, &grpc, limits))
        .add_service(service!(DocumentServiceServer, &grpc, limits))
        .add_service(service!(SearchServiceServer, &grpc, limits))
        .add_service(framed::Framed(service!(EventServiceServer, &grpc, limits)))
        .add_service(service!(ConsumerServiceServer, &grpc, limits))
        .add_service(service!(IndexServiceServer, &grpc, limits))
        .add_service(HealthServer::new(Health::new(engine.clone())))
        .add_service(reflection().build_v1().map_err(broken)?)
        .add_service(reflection().build_v1alpha().map_err(broken)?))
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // The types of errors' details, without which grpcurl shows them as bytes.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}

/// The answer of a unary rpc, compressed only where that pays.
fn reply<M: Message>(message: M) -> Result<Response<M>, Status> {
    let small = message.encoded_len() < COMPRESSED_BYTES_MIN;
    let mut response = Response::new(message);
    if small {
        response.disable_compression();
    }
    Ok(response)
}

/// The answer of a streaming rpc, never compressed: its messages are small and must not wait.
fn reply_stream<S>(stream: S) -> Result<Response<S>, Status> {
    let mut response = Response::new(stream);
    response.disable_compression();
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_types::FileDescriptorSet;

    #[test]
    fn reflection_knows_every_service_and_builds() {
        let set = FileDescriptorSet::decode(pb::DESCRIPTORS).expect("a descriptor set");
        let names: Vec<String> = set
            .file
            .iter()
            .flat_map(|file| {
                file.service.iter().map(|s| format!("{}.{}", file.package(), s.name()))
            })
            .collect();
        for service in SERVICES {
            assert!(names.iter().any(|name| name == service), "{service} in {names:?}");
        }
        assert_eq!(names.len(), SERVICES.len(), "SERVICES names all of them: {names:?}");
        assert!(reflection().build_v1().is_ok() && reflection().build_v1alpha().is_ok());
    }

    #[test]
    fn every_message_field_and_rpc_is_documented() {
        let set = FileDescriptorSet::decode(pb::DESCRIPTORS).expect("a descriptor set");
        let mut bare = Vec::new();
        let ours = set.file.iter().filter(|file| file.package() == "arrwdb.v1");
        for file in ours {
            let locations = file.source_code_info.as_ref().expect("comments").location.iter();
            // Paths into FileDescriptorProto that stand for a message, field, oneof, enum, value,
            // service or rpc: 4 = message, 5 = enum, 6 = service; below them 2 = field, value or
            // rpc, 8 = oneof.
            let named = locations.filter(|location| {
                matches!(&location.path[..], [4..=6, _] | [4..=6, _, 2, _] | [4, _, 8, _])
            });
            bare.extend(
                named
                    .filter(|l| l.leading_comments().trim().is_empty())
                    .map(|l| format!("{} {:?}", file.name(), l.path)),
            );
        }
        assert!(bare.is_empty(), "undocumented: {bare:?}");
    }

    #[test]
    fn only_large_replies_are_compressed() {
        let plain = |bytes: usize| {
            let message =
                pb::ListEventsResponse { next_cursor: "x".repeat(bytes), ..Default::default() };
            let response = reply(message).expect("a reply");
            !response.extensions().is_empty()
        };
        assert!(plain(100));
        assert!(!plain(COMPRESSED_BYTES_MIN));
    }
}
