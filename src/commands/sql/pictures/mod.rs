//! Pictures of a result, small and few, below its table, on a terminal that can show them.
//!
//! Owns which pictures of a result are shown and when; how a terminal takes them is [`terminal`]'s, what they become `sheet`'s and
//! `sixel`'s. What is written to the terminal holds numbers and pixels that were decoded here, never a text of the data.

mod sheet;
mod sixel;
mod terminal;

use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::Result as DataFusionResult;
use futures::{StreamExt, stream};
use picsift_images::{Geometry, RgbPixels};
use picsift_udf::{
    Engine, ImageSource, ReferenceOrigin, image_sources, is_binary, is_image_struct,
};
use url::Url;

use crate::error::AppError;
use sheet::Sheet;
pub(super) use terminal::Drawing;

/// Pictures of a result that are shown.
const MOST: usize = 8;

/// Pictures that are fetched and decoded at once.
const AT_ONCE: usize = 4;

/// The first pictures of a result.
#[derive(Debug)]
pub(super) struct Found {
    column: Option<usize>,
    folder: Option<Arc<Url>>,
    pictures: Vec<(usize, ImageSource)>,
    rows: usize,
}

impl Found {
    /// None yet, of rows with these columns: the first with pictures in it, else the one of references into a folder that is known.
    pub(super) fn none(schema: &Schema, references: Option<(usize, Arc<Url>)>) -> Self {
        let held = schema.fields().iter().position(|field| {
            let data_type = field.data_type();
            is_binary(data_type)
                || matches!(data_type, DataType::Struct(parts) if is_image_struct(parts))
        });
        let (column, folder) = match (held, references) {
            (Some(column), _) => (Some(column), None),
            (None, Some((column, folder))) => (Some(column), Some(folder)),
            (None, None) => (None, None),
        };
        Self {
            column,
            folder,
            pictures: Vec::new(),
            rows: 0,
        }
    }

    /// Takes note of the rows that are printed next.
    ///
    /// # Errors
    /// Of a column that holds no images.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> DataFusionResult<()> {
        let room = MOST - self.pictures.len();
        if let Some(column) = self.column.filter(|_| room > 0) {
            let sources = image_sources(batch.column(column))?;
            let numbered = sources.into_iter().zip(self.rows + 1..);
            let some = numbered.filter_map(|(source, row)| Some((row, source?)));
            self.pictures.extend(some.take(room));
        }
        self.rows += batch.num_rows();
        Ok(())
    }
}

/// Whether a person wants pictures, and how the terminal takes them.
#[derive(Debug)]
pub(super) struct Pictures {
    wanted: bool,
    /// How, once that is known; `Some(None)` is not at all.
    drawing: Option<Option<Drawing>>,
}

impl Pictures {
    /// Wanted where the terminal can show them.
    pub(super) fn new() -> Self {
        Self {
            wanted: true,
            drawing: None,
        }
    }

    /// Whether a result is to be looked through.
    pub(super) fn are_wanted(&self) -> bool {
        self.wanted && self.drawing != Some(None)
    }

    /// From now on or no longer; `None` is the other of both.
    pub(super) fn want(&mut self, wanted: Option<bool>) {
        self.wanted = wanted.unwrap_or(!self.wanted);
    }

    /// From now on in this way, whatever the terminal says of itself.
    pub(super) fn draw(&mut self, drawing: Drawing) {
        self.wanted = true;
        self.drawing = Some(Some(drawing));
    }

    /// What holds, for a person; asks the terminal where it has not been asked.
    pub(super) fn state(&mut self) -> String {
        match self.wanted.then(|| self.drawing()) {
            None => "pictures are not shown".to_owned(),
            Some(Some(drawing)) => format!("pictures are shown, by {drawing}"),
            Some(None) => "the terminal does not say that it can show pictures; \\images kitty, iterm2 or sixel tries it"
                .to_owned(),
        }
    }

    /// How the terminal takes pictures, if it does.
    fn drawing(&mut self) -> Option<Drawing> {
        if self.drawing.is_none() {
            self.drawing = terminal::drawing();
        }
        self.drawing.flatten()
    }

    /// Shows them on a terminal of so many characters; those that cannot be read are left out, as the statement says why.
    ///
    /// # Errors
    /// The terminal's.
    pub(super) async fn show(
        &mut self,
        engine: &Engine,
        found: Found,
        width: usize,
        out: &mut (dyn Write + Send),
    ) -> Result<(), AppError> {
        if found.pictures.is_empty() {
            return Ok(());
        }
        let Some(drawing) = self.drawing() else {
            return Ok(());
        };
        let cell = terminal::cell();
        let thumbnails = thumbnails(engine, found, cell.side()).await;
        for strip in thumbnails.chunks(sheet::fitting(width)) {
            let (rows, pixels): (Vec<usize>, Vec<RgbPixels>) = strip.iter().cloned().unzip();
            let drawn =
                tokio::task::spawn_blocking(move || drawing.draw(&Sheet::of(&pixels, cell)));
            let drawn = drawn.await.map_err(std::io::Error::from);
            let drawn = drawn.and_then(|drawn| drawn).map_err(AppError::Terminal)?;
            let written = out.write_all(&drawn);
            written
                .and_then(|()| writeln!(out, "\n{}", sheet::captions(&rows)))
                .and_then(|()| out.flush())
                .map_err(AppError::Terminal)?;
        }
        Ok(())
    }
}

/// The pictures that can be read, with the numbers of their rows, none longer than `side` pixels.
async fn thumbnails(engine: &Engine, found: Found, side: u32) -> Vec<(usize, RgbPixels)> {
    let folder = found.folder.as_deref();
    let all = stream::iter(found.pictures).map(|(row, source)| async move {
        let bytes = engine.load_bytes(source, ReferenceOrigin::Table(folder));
        let bytes = bytes.await.ok()?;
        let pixels = engine.pool().prepare(bytes, Geometry::Within { side });
        Some((row, pixels.await.ok()?.value))
    });
    all.buffered(AT_ONCE)
        .filter_map(|one| async { one })
        .collect()
        .await
}
