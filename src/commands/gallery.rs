//! `picsift gallery`: pages of a labelled table, shown on this machine if that is asked for.

use std::path::Path;
use std::time::Instant;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::printer::{confide, note, say, word};
use super::{engine, signals};
use crate::cli::GalleryArgs;
use crate::corrections::kept::CORRECTIONS;
use crate::error::AppError;
use crate::gallery::gallery as make;
use crate::gallery::serve::serve;
use crate::requests;

const BAR: &str = "{bar:30} {human_pos}/{human_len} images, {per_sec}, {eta} left";

/// Runs the command.
///
/// # Errors
/// [`AppError`]; the output is as it was before then.
pub(super) async fn gallery(args: GalleryArgs) -> Result<(), AppError> {
    let (output, port, serving) = (args.output.clone(), args.port, args.serve);
    let folder = Path::new(&output);
    // From the beginning: a signal that comes between two steps, or while the gallery is read, must not be lost.
    let mut signals = signals::Listener::new();
    match args.inputs.is_empty() {
        true if !serving => {
            return Err(AppError::Usage(
                "name the labelled table that the gallery is of".to_string(),
            ));
        }
        true => {}
        false => {
            signals::unless_stopped(&mut signals, written(args), "no gallery was written").await?;
        }
    }
    if !serving {
        return Ok(());
    }
    let opened = |address: &str| {
        confide(format_args!(
            "the gallery is at {address} until Ctrl-C, for whoever has this link; corrections go to {}",
            folder.join(CORRECTIONS).display()
        ));
    };
    let ended = async move {
        // Where no signal can come it goes on until it is killed.
        if signals.next().await.is_none() {
            std::future::pending::<()>().await;
        }
    };
    serve(folder, port, opened, ended).await
}

async fn written(args: GalleryArgs) -> Result<(), AppError> {
    let (started, serving) = (Instant::now(), args.serve);
    let options = requests::gallery(args, &engine::host())?;
    let bar = bar();
    let made = make(&options, |rows| bar.set_length(rows), &|| bar.inc(1)).await;
    bar.finish_and_clear();
    let made = made?;
    for note in &made.notes {
        note!("{note}");
    }
    if made.corrections > 0 {
        say!(
            "{} corrections of the gallery that was there are kept",
            made.corrections
        );
    }
    let seconds = started.elapsed().as_secs_f64();
    say!(
        "{} rows of {}, {} without a picture; {} of copies in {seconds:.1} s ({:.0} images/s)",
        made.rows,
        made.labelled,
        made.without_picture,
        HumanBytes(made.bytes),
        made.rows as f64 / seconds.max(1e-9),
    );
    if !serving {
        say!(
            "open {} in a browser, or run picsift gallery -o {} --serve to keep corrections there",
            Path::new(&options.output).join("index.html").display(),
            word(&options.output)
        );
    }
    Ok(())
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template(BAR) {
        bar.set_style(style);
    }
    bar
}
