//! This program as the host of the work: notes and downloads on standard error, and processes of it that decode.

use std::sync::{Arc, OnceLock};

use picsift_images::Sandbox;

use super::models::progress::FetchReport;
use super::printer::note;
use crate::requests::Host;

/// The argument by which this program is one that decodes for another.
const DECODE: &str = "decode-for-picsift";

/// How processes that decode are started, where this program's own file is not what starts them.
static DECODER: OnceLock<Sandbox> = OnceLock::new();

/// Has processes that decode started so, in a program of which the commands are only a part. The first call holds.
pub fn decode_by(sandbox: Sandbox) {
    let _ = DECODER.set(sandbox);
}

/// Whether this program was started to decode for another.
pub fn is_decoder() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    arguments.next().is_some_and(|first| first == DECODE) && arguments.next().is_none()
}

/// This program.
pub(super) fn host() -> Host {
    Host {
        notice: Arc::new(|sentence| note!("{sentence}")),
        progress: Arc::new(FetchReport::default()),
        decoder: Arc::new(|| match DECODER.get() {
            Some(decoder) => Ok(decoder.clone()),
            None => Sandbox::this_program(DECODE),
        }),
    }
}
