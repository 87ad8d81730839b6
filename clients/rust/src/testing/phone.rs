//! A telephone that gets codes by text message or call.

use super::{Result, TestServer};

/// A telephone, known by its number.
#[derive(Clone, Debug)]
pub struct Phone {
    number: String,
}

impl Phone {
    /// A telephone with a number of its own, as far as chance goes.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self { number: format!("+4420718{:05}", fastrand::u32(..100_000)) }
    }

    /// A telephone, or a mailbox, with a given address.
    pub fn at(address: impl Into<String>) -> Self {
        Self { number: address.into() }
    }

    /// Its number, E.164.
    pub fn number(&self) -> &str {
        &self.number
    }

    /// The newest code it got.
    ///
    /// # Errors
    ///
    /// It got none, or the server is away.
    pub async fn code(&self, server: &TestServer) -> Result<String> {
        let messages = server.messages(&self.number).await?;
        let newest = messages.into_iter().rev().map(|message| message.code).find(|code| !code.is_empty());
        newest.ok_or_else(|| format!("no code was sent to {}", self.number).into())
    }
}
