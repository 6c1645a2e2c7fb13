//! The file of tokens, read again while the server runs.
//!
//! A token whose line is gone, or whose tenant may read other places, lets nobody in a moment later, and what runs for it ends. A file
//! that is none of tokens changes nothing, which the log says.

use std::path::Path;
use std::time::Duration;

use super::Server;
use super::tokens::{self, Tokens};
use crate::disk::blocking;
use crate::error::AppError;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Keeps who may ask as the file says, without end.
pub(super) async fn follow(server: &Server, path: &Path) {
    let mut known = None;
    loop {
        let file = path.to_path_buf();
        let text = blocking(move || tokens::text(&file)).await;
        let now = text.as_ref().map_err(ToString::to_string).cloned();
        if known.as_ref() != Some(&now) {
            known = Some(now);
            let changed = text
                .and_then(|text| Tokens::parsed(path, &text))
                .and_then(|tokens| server.admit(tokens));
            if let Err(error) = changed {
                tracing::error!(
                    target: "picsift::serve",
                    %error,
                    "the file of tokens cannot be used; who may ask stays as it was"
                );
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Server {
    /// Lets in whom these tokens let in, and nobody else from now on; what runs for others ends.
    ///
    /// # Errors
    /// [`AppError::Usage`] for places that are not there; nothing is changed then.
    fn admit(&self, tokens: Tokens) -> Result<(), AppError> {
        self.tenants.change(&tokens.tenants)?;
        for client in self.door.change(tokens) {
            tracing::info!(target: "picsift::audit", client = %client.owner, "the token is taken away");
            self.sessions.forget(&client.owner);
            self.statements.forget(&client.owner);
            self.plans.forget(&client.owner);
            // Last, so that what ends finds nothing to come back for.
            client.revoke();
        }
        Ok(())
    }
}
