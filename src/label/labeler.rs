//! Categories and a model that tables in memory and single pictures are given to, as often as there are some.
//!
//! What comes out has the columns of a job's output, by the same plan. There is no output folder, journal or manifest here: whoever
//! calls it keeps the rows.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result as DataFusionResult};
use datafusion::datasource::MemTable;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{DataFrame, SessionContext};
use futures::StreamExt;
use picsift_udf::{
    Annotation, Engine, EngineError, ImageSource, Labelling, LocatedTable, Losses, ModelHandle,
    OnError, ReferenceOrigin, RowError, annotate,
};
use picsift_vision::categories::JobCategory;
use tokio::sync::Semaphore;
use url::Url;

use super::columns::OutputColumns;
use super::image::{ImageLabeler, ImageLabels};
use super::options::LabelOptions;
use crate::batches;
use crate::dataset::columns::image_column;
use crate::error::AppError;
use crate::session;

/// Labels tables in memory and pictures, from any number of tasks at once.
pub struct Labeler {
    engine: Arc<Engine>,
    model: ModelHandle,
    context: SessionContext,
    options: LabelOptions,
    categories: Vec<JobCategory>,
    images: ImageLabeler,
    /// One permit for each picture that may be under way.
    slots: Semaphore,
}

/// A table that is being labelled.
pub struct LabelledTable {
    /// Its rows in their order, with the answers' columns after their own.
    pub rows: SendableRecordBatchStream,
    /// Images that are lost while the rows are read.
    pub losses: Arc<Losses>,
}

impl Labeler {
    /// A labeller on `engine`, whose corrections win over the model. Of the options those of categories, model, image column, digests, embedding, the images' column in the
    /// output and failures count; what is about inputs, output and run does not. The model is described here and loaded for the first
    /// image.
    ///
    /// # Errors
    /// When the model is unknown or does not know a category.
    pub fn new(engine: Arc<Engine>, options: LabelOptions) -> Result<Self, AppError> {
        let categories = options.categories.resolve()?;
        let model = engine.model(&options.model.name, &options.model.load)?;
        let specs: Vec<_> = categories.iter().map(|c| c.spec.clone()).collect();
        let labelling =
            Labelling::new(&model, &specs, options.categories.threshold).map_err(AppError::Plan)?;
        let images = ImageLabeler::new(&engine, model.clone(), Some(labelling), None);
        Ok(Self {
            context: session::session(&engine, 1).map_err(AppError::Plan)?,
            slots: Semaphore::new(images.in_flight()),
            engine,
            model,
            options,
            categories,
            images,
        })
    }

    /// Labels `rows` of this schema, whose relative references belong to the folder `base`. The images' bytes are not copied.
    ///
    /// # Errors
    /// [`AppError::Usage`] and [`AppError::Plan`] for a table that does not fit; its stream gives what fails later.
    pub async fn table(
        &self,
        schema: SchemaRef,
        rows: Vec<RecordBatch>,
        base: Option<&Url>,
    ) -> Result<LabelledTable, AppError> {
        let image =
            image_column(&schema, self.options.image.as_deref()).map_err(AppError::Usage)?;
        let columns = OutputColumns::new(
            &self.model,
            self.categories.clone(),
            &self.options,
            &schema,
            &image,
        )?;
        let annotation = Annotation {
            image,
            digest: self.options.digest.clone(),
            base: base.cloned(),
            model: self.options.model.name.clone(),
            load: self.options.model.load,
            categories: columns.specs(),
            threshold: self.options.categories.threshold,
            added: columns.added.clone(),
            bytes: None,
            on_error: self.options.on_error,
            cascade: None,
        };
        let losses = Arc::new(Losses::default());
        let table = MemTable::try_new(schema, vec![rows]).map_err(AppError::Plan)?;
        let table = LocatedTable::new(Arc::new(table), base);
        let table = self.context.read_table(Arc::new(table));
        let (mut state, plan) = table.map_err(AppError::Plan)?.into_parts();
        state.config_mut().set_extension(Arc::clone(&losses));
        let plan = annotate(&self.engine, plan, &annotation).map_err(AppError::Plan)?;
        let rows = batches::stream(DataFrame::new(state, plan))
            .await
            .map_err(AppError::Run)?;
        Ok(LabelledTable {
            rows: written(rows, &columns).map_err(AppError::Plan)?,
            losses,
        })
    }

    /// Labels a picture that the caller named or has the bytes of; a reference is read anew each time. Corrections know it by its
    /// reference, the rest of that behind `base`, or the digest of its bytes.
    ///
    /// # Errors
    /// Why no picture gets an answer; for a picture that has none, where failures are to end the work. Within, why this one has none.
    pub async fn image(
        &self,
        image: ImageSource,
        base: Option<&str>,
    ) -> Result<Result<ImageLabels, RowError>, AppError> {
        // The semaphore is never closed.
        let _slot = self.slots.acquire().await.ok();
        let name = match &image {
            ImageSource::Reference(reference) => Some(reference.clone()),
            ImageSource::Bytes(_) => None,
        };
        let bytes = self.engine.load_bytes(image, ReferenceOrigin::Person).await;
        let labels = match bytes {
            Ok(bytes) => {
                let names = name.as_deref().map(|name| names(name, base));
                let names = names.unwrap_or_default();
                let bytes = ImageSource::Bytes(bytes);
                self.images.label_called(&names, bytes).await?
            }
            Err(error) => Err(RowError::from(error)),
        };
        match labels {
            Err(error) if self.options.on_error == OnError::Fail => {
                Err(AppError::Run(DataFusionError::Execution(error.to_string())))
            }
            labels => Ok(labels),
        }
    }

    /// Loads the model, unless that is done.
    ///
    /// # Errors
    /// [`AppError::Engine`] when its files cannot be had or not be loaded.
    pub fn load(&self) -> Result<(), AppError> {
        self.model.service().map(drop).map_err(EngineError::from)?;
        Ok(())
    }

    /// How many pictures should be asked about at once; more wait.
    pub fn in_flight(&self) -> usize {
        self.images.in_flight()
    }

    /// The categories in the order of their columns.
    pub fn categories(&self) -> impl Iterator<Item = &str> {
        let categories = self.categories.iter();
        categories.map(|category| category.spec.category.name.as_str())
    }
}

/// What a table may call a picture of this reference: the same, or what stands behind the folder.
fn names<'a>(reference: &'a str, base: Option<&str>) -> Vec<&'a str> {
    let folder = base.map(|base| base.trim_end_matches('/'));
    let below = folder.and_then(|folder| reference.strip_prefix(folder)?.strip_prefix('/'));
    std::iter::once(reference).chain(below).collect()
}

/// The rows as a job writes them: the table's metadata is not in DataFusion's schema, and the images may not be wanted.
fn written(
    rows: SendableRecordBatchStream,
    columns: &OutputColumns,
) -> DataFusionResult<SendableRecordBatchStream> {
    let whole = Arc::clone(&columns.schema);
    let fields = whole.fields().iter().enumerate();
    let kept = fields.filter(|(_, field)| !columns.dropped.contains(field.name()));
    let kept: Vec<usize> = kept.map(|(place, _)| place).collect();
    let schema = Arc::new(whole.project(&kept)?);
    let rows = rows.map(move |batch| {
        let batch = RecordBatch::try_new(Arc::clone(&whole), batch?.columns().to_vec())?;
        Ok(batch.project(&kept)?)
    });
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
}
