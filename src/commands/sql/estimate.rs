//! `picsift sql --estimate`: what a query will ask and how long that takes, measured on a few of its images.
//!
//! Statements that set up what a query needs (`SET`, `CREATE`) run; queries do not.

use std::io::Write;
use std::time::Duration;

use datafusion::sql::parser::Statement;
use indicatif::{HumanCount, HumanDuration};
use picsift_udf::Estimate;

use super::super::printer::Lines;
use super::{print, terminal};
use crate::batches;
use crate::commands::printer::note;
use crate::error::AppError;
use crate::sql::{Planned, Session};

/// Runs a statement that returns no rows, estimates a query.
///
/// # Errors
/// What planning or the sample gives.
pub(super) async fn estimate(session: &Session, statement: Statement) -> Result<(), AppError> {
    let Planned {
        frame,
        silent,
        notes,
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
        write(&mut out, estimate).map_err(terminal)?;
    }
    out.flush().map_err(terminal)
}

fn write(out: &mut impl Write, estimate: &Estimate) -> std::io::Result<()> {
    let sample = &estimate.sample;
    writeln!(out, "{}", estimate.operator)?;
    match estimate.rows {
        Some((rows, true)) => writeln!(out, "  rows    {}", HumanCount(rows as u64))?,
        Some((rows, false)) => writeln!(out, "  rows    about {}", HumanCount(rows as u64))?,
        None => writeln!(out, "  rows    not known before the query runs")?,
    }
    if let Some(images) = estimate.images() {
        writeln!(out, "  images  about {}", HumanCount(images.round() as u64))?;
    }
    match (estimate.rate(), estimate.time()) {
        (Some(rate), Some(time)) => {
            writeln!(
                out,
                "  time    about {}, at {rate:.1} images/s",
                shown(time)
            )?;
        }
        (Some(rate), None) => writeln!(out, "  time    {rate:.1} images/s")?,
        (None, _) => writeln!(out, "  time    not known: the sample has no image to ask")?,
    }
    writeln!(
        out,
        "  sample  {} rows, {} images, {} rows kept, in {}",
        sample.rows,
        sample.images,
        sample.kept,
        shown(sample.time)
    )
}

fn shown(time: Duration) -> String {
    if time < Duration::from_secs(60) {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        HumanDuration(time).to_string()
    }
}
