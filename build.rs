//! Compiles `proto/` to Rust and to the descriptor set that reflection serves, without `protoc`.

use std::error::Error;
use std::path::PathBuf;

const PROTOS: [&str; 6] = [
    "arrwdb/v1/library_service.proto",
    "arrwdb/v1/document_service.proto",
    "arrwdb/v1/search_service.proto",
    "arrwdb/v1/event_service.proto",
    "arrwdb/v1/consumer_service.proto",
    "arrwdb/v1/index_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=build.rs");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(
        out.join("arrwdb_descriptors.bin"),
        prost::Message::encode_to_vec(&descriptors),
    )?;
    tonic_prost_build::configure()
        // Already watched above; by itself it would print paths that do not exist.
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)?;
    Ok(())
}
