//! A challenge that is watched.

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::{Code, Streaming};

use crate::retrying::Backoff;
use crate::v1::{ChallengeState, WatchChallengeRequest, WatchChallengeResponse};
use crate::{Client, Error};

const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long the server may be away: no challenge lives longer.
const PATIENCE: Duration = Duration::from_secs(300);

/// The states of a challenge, each once, until it is approved or final. What is lost with a connection is resumed, after
/// waits that double (RFC 8628 section 3.5).
pub struct Watch {
    client: Client,
    oob_code: String,
    stream: Option<Streaming<WatchChallengeResponse>>,
    told: Option<WatchChallengeResponse>,
    backoff: Backoff,
    away_since: Option<Instant>,
}

impl Watch {
    pub(crate) fn new(client: Client, oob_code: String) -> Self {
        let backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        Self { client, oob_code, stream: None, told: None, backoff, away_since: None }
    }

    /// Waits for the next state; `None` after one that is approved or final.
    ///
    /// # Errors
    ///
    /// What ends the login, such as `MFA_TOKEN_STALE`; `Unavailable` where the server stays away for five minutes.
    pub async fn message(&mut self) -> Result<Option<WatchChallengeResponse>, Error> {
        if self.told.as_ref().is_some_and(|told| told.state() != ChallengeState::Pending) {
            return Ok(None);
        }
        loop {
            match self.heard().await {
                Ok(state) => {
                    self.backoff.reset();
                    self.away_since = None;
                    // A stream that was resumed tells again what is known.
                    if self.told.replace(state).is_none_or(|told| told.state != state.state) {
                        return Ok(Some(state));
                    }
                }
                Err(error) => {
                    self.stream = None;
                    let since = *self.away_since.get_or_insert_with(Instant::now);
                    if error.code() != Code::Unavailable || since.elapsed() > PATIENCE {
                        return Err(error);
                    }
                    sleep(self.backoff.next()).await;
                }
            }
        }
    }

    /// Waits for the last state.
    ///
    /// # Errors
    ///
    /// As for [`message`](Self::message).
    pub async fn ended(mut self) -> Result<ChallengeState, Error> {
        let mut last = ChallengeState::Unspecified;
        while let Some(state) = self.message().await? {
            last = state.state();
        }
        Ok(last)
    }

    async fn heard(&mut self) -> Result<WatchChallengeResponse, Error> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            closed => {
                let request = WatchChallengeRequest { oob_code: self.oob_code.clone() };
                let opened = self.client.challenges().watch_challenge(request).await?;
                closed.insert(opened.into_inner())
            }
        };
        let state = stream.message().await?;
        state.ok_or_else(|| Error::here(Code::Unavailable, "the stream ended before the challenge did"))
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Watch").field("told", &self.told).finish_non_exhaustive()
    }
}
