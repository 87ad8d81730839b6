//! The test kit: a throw-away server whose clock moves, and what its users hold in their hands.
//!
//! A test starts a [`TestServer`], logs somebody in with its client, and answers as an [`AuthenticatorApp`], a [`Phone`],
//! a [`PushDevice`] or a [`SecurityKey`] would. Nothing here is for production: the server forgets everything, and the
//! devices keep their keys in memory.

mod authenticator_app;
mod phone;
mod push_device;
mod security_key;
mod server;
mod signing;

pub use authenticator_app::AuthenticatorApp;
pub use phone::Phone;
pub use push_device::PushDevice;
pub use security_key::SecurityKey;
pub use server::{Demo, TestMode, TestServer};

/// Messages and stubs of the services that a server in test mode has.
#[allow(missing_docs, rustdoc::all, clippy::all)]
pub mod v1 {
    tonic::include_proto!("cofactor.testing.v1");
}

/// What stops a test.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
