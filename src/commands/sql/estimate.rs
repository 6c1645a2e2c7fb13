//! `picsift sql --estimate`: what a query will ask and how long that takes, measured on a few of its images.
//!
//! Statements that set up what a query needs (`SET`, `CREATE`) run; queries do not.

use std::io::Write;

use super::super::printer::Lines;
use super::{print, terminal};
use crate::batches;
use crate::commands::estimates;
use crate::commands::printer::note;
use crate::error::AppError;
use crate::sql::{Parsed, Planned, Session};

/// Runs a statement that returns no rows, estimates a query.
///
/// # Errors
/// What planning or the sample gives.
pub(super) async fn estimate(session: &Session, statement: Parsed) -> Result<(), AppError> {
    let Planned {
        frame,
        silent,
        notes,
        ..
    } = session.planned(statement).await?;
    for note in &notes {
        note!("{note}");
    }
    if silent {
        let stream = frame.execute_stream().await.map_err(AppError::Run)?;
        return print::drain(stream).await.map_err(AppError::Run);
    }
    let plan = frame.create_physical_plan().await.map_err(AppError::Plan)?;
    let task = batches::task_context(&session.context().state(), &plan);
    let estimates = picsift_udf::estimate(&plan, &task)
        .await
        .map_err(AppError::Run)?;
    let mut out = Lines::new(std::io::stdout().lock());
    if estimates.is_empty() {
        writeln!(out, "no image is asked about").map_err(terminal)?;
    }
    for estimate in &estimates {
        writeln!(out, "{}", estimate.operator).map_err(terminal)?;
        estimates::write(&mut out, estimate, None).map_err(terminal)?;
    }
    out.flush().map_err(terminal)
}
