//! Makes Rust of the example's own service, and of the gateway's, for its client. No protoc is needed.

use std::path::PathBuf;

use prost::Message as _;

/// Where the gateway's service is described.
const CLASS1: &str = "../../../nodes/class1/proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/calculator.proto");
    println!("cargo:rerun-if-changed={CLASS1}/class1.proto");
    let descriptors = protox::compile(["proto/calculator.proto"], ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    let class1 = protox::compile([format!("{CLASS1}/class1.proto")], [CLASS1])?;
    tonic_prost_build::configure().build_server(false).compile_fds(class1)?;
    Ok(())
}
