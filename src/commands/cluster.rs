//! `picsift cluster`: a scheduler, and executors that ask it for work.

use super::printer::{note, say};
use super::{engine, serve, signals};
use crate::cli::{ClusterCommand, ExecutorArgs, SchedulerArgs};
use crate::cluster::{self, Opened};
use crate::error::AppError;
use crate::requests;

/// Runs the command until Ctrl-C or SIGTERM.
///
/// # Errors
/// [`AppError`] of what it was started with.
pub(super) async fn cluster(command: ClusterCommand) -> Result<(), AppError> {
    #[cfg(unix)]
    serve::open_more_files();
    match command {
        ClusterCommand::Scheduler(args) => scheduler(&args).await,
        ClusterCommand::Executor(args) => executor(*args).await,
    }
}

async fn scheduler(args: &SchedulerArgs) -> Result<(), AppError> {
    let ended = signals::ended();
    let options = requests::scheduler(args);
    let begun = |opened: Opened| {
        watched(opened);
        say!("the scheduler is at {}, until Ctrl-C", opened.at);
    };
    cluster::schedule(options, begun, ended).await
}

async fn executor(args: ExecutorArgs) -> Result<(), AppError> {
    let ended = signals::ended();
    let scheduler = args.scheduler.clone();
    let options = requests::executor(args, &engine::host())?;
    let begun = |opened| {
        watched(opened);
        say!("asks the scheduler at {scheduler} for work, until Ctrl-C");
    };
    let answers = {
        let scheduler = scheduler.clone();
        move |is_there| match is_there {
            true => note!("the scheduler at {scheduler} answers again"),
            false => {
                note!("the scheduler at {scheduler} does not answer; it is asked again and again")
            }
        }
    };
    cluster::execute(options, begun, answers, ended).await
}

/// Says where it is watched.
fn watched(opened: Opened) {
    if let Some(address) = opened.metrics {
        say!("metrics are at http://{address}/metrics");
    }
}
