//! Threads that let others of the machine go first.
//!
//! A server decodes and computes beside answering what is known already, which takes a hundredth of the time and must not wait for the rest. On
//! Linux every thread has a niceness of its own, which the threads and processes that it starts inherit. So what starts those that
//! decode and compute runs on a thread that has been made nicer. Elsewhere a niceness is the whole program's, and nothing changes.

use std::panic::resume_unwind;
use std::thread;

/// By how much such threads are nicer: they get a tenth of what others get where both want all.
#[cfg(target_os = "linux")]
const NICER: i32 = 10;

/// Runs work on a thread whose children are in the background, or on this one where they need not be.
pub(crate) fn start<T: Send>(background: bool, work: impl FnOnce() -> T + Send) -> T {
    if !background {
        return work();
    }
    let nicer = || {
        be_nicer();
        work()
    };
    let done = thread::scope(|scope| scope.spawn(nicer).join());
    done.unwrap_or_else(|panic| resume_unwind(panic))
}

#[cfg(target_os = "linux")]
fn be_nicer() {
    // Everybody may; where a system says no, images are merely in the way of what is known.
    if let Err(error) = rustix::process::nice(NICER) {
        tracing::warn!(%error, "threads that decode and compute are not put in the background");
    }
}

#[cfg(not(target_os = "linux"))]
fn be_nicer() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_started_in_the_background_is_nicer_and_the_rest_is_not() {
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let before = niceness();
        let there = start(true, || thread::spawn(niceness).join().unwrap());
        assert_eq!(there, (before + NICER).min(19));
        assert_eq!(start(false, niceness), before);
        assert_eq!(niceness(), before);
    }
}
