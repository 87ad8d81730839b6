#![doc = include_str!("../README.md")]

mod client;
mod connecting;
mod error;
mod redacted;
mod retrying;
#[cfg(feature = "testing")]
pub mod testing;
mod transport;
mod watch;

pub use client::{Client, Outcome};
pub use connecting::Connector;
pub use error::{Error, Violation};
pub use transport::Transport;
pub use watch::Watch;

/// Messages and stubs of the API, as generated from its protos.
#[allow(missing_docs, rustdoc::all, clippy::all)]
pub mod v1 {
    tonic::include_proto!("cofactor.v1");
}

/// The protos that the stubs are generated from, as a `google.protobuf.FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("cofactor");
