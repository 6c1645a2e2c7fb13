//! The network: views of images to prefixes, prefixes and token ids to logits.
//!
//! Works in token ids and tensors; words, jobs and services are above it.

use std::cell::Cell;

use candle_core::{DType, Device, Result, Tensor};

use super::encoder::{Encoder, Projection};
use super::features::{pool, stitch};
use super::names::Names;
use super::text::{Cache, Own, Step, TextModel};
use super::tree::{Tree, runs};
use super::{Config, Layout};
use crate::device::Uploads;
use crate::model::Views;
use crate::transformer::Format;
use crate::transformer::LAUNCH;
use crate::transformer::Reader;
use crate::transformer::{Checkpoint, Read};
use crate::transformer::{normalise, on_device, patch_vectors, prepared};

/// Views that go through the encoder together, on a CPU and on a GPU. A CPU's threads are kept busy by one, and memory that is larger than what
/// allocators keep, 32 MB, is asked of the system each time: with four, products had 0.6 of their rate.
const VIEWS_AT_ONCE: (usize, usize) = (1, 64);

/// Most tokens of one packed sequence. Scores of that many tokens over prefix and themselves bound the memory of a pass.
pub(super) const PACKED_TOKENS: usize = 1024;

/// A place in the computation, for comparison with another implementation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Patch vectors of some views, `[views, tokens, 3 * patch * patch]`.
    Patches,
    /// The encoder's residual stream before its first block and after each, `[views * tokens, dim]`.
    VisionBlock,
    /// The encoder's output, `[views, tokens, dim]`.
    VisionOut,
    /// The local features of one image put together, `[height, width, dim]`.
    Stitched,
    /// The same brought to the grid of one view, `[tokens, dim]`.
    Pooled,
    /// Image embeddings, `[images, tokens, text dim]`.
    Projected,
    /// The language model's residual stream at the questions' last tokens before its first block and after each,
    /// `[images * questions, dim]`; after the last block it is what the head's norm takes.
    TextBlock,
}

/// Called with what is there at each [`Stage`].
pub type Watch<'a> = dyn FnMut(Stage, &Tensor) + 'a;

/// The network with its weights, on one device.
#[derive(Debug, Clone)]
pub struct Network {
    config: Config,
    format: Format,
    weight_bytes: usize,
    encoder: Encoder,
    projection: Projection,
    pub(super) text: TextModel,
}

/// An image as the encoder's device takes it.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Patch vectors `[views, tokens, 3 * patch * patch]`, or bytes `[views, side, side, 3]` that the device cuts up; the overview
    /// first.
    patches: Tensor,
    /// Rows and columns of tiles.
    grid: (usize, usize),
}

impl Prepared {
    /// The same where `uploads` copies to.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn uploaded(self, uploads: &Uploads) -> Result<Self> {
        Ok(Self {
            patches: uploads.copy(self.patches)?,
            ..self
        })
    }
}

/// Images as the language model has read them: its keys and values over BOS and image tokens.
#[derive(Debug, Clone)]
pub struct Prefix {
    pub(super) cache: Cache,
}

impl Prefix {
    /// Number of images.
    pub fn images(&self) -> usize {
        self.cache.batch()
    }

    /// Number of tokens of each image, BOS included.
    pub fn tokens(&self) -> usize {
        self.cache.tokens()
    }

    /// Keys and values of a layer, `[images, tokens, heads * head_dim]` each; keys are rotated, in the half-split order of
    /// dimensions.
    pub fn layer(&self, index: usize) -> Option<(&Tensor, &Tensor)> {
        self.cache.layer(index)
    }
}

/// Epsilon of every layer norm, as in the published code.
const NORM_EPSILON: f32 = 1e-5;

impl Network {
    /// Reads the weights into the form in which the network is to be computed.
    ///
    /// # Errors
    /// [`crate::transformer::CheckpointError`] naming the tensor that is missing or does not fit the configuration.
    pub fn read(config: Config, checkpoint: &Checkpoint<'_>, format: &Format) -> Read<Self> {
        let format = &format.with_rounded_attention();
        let reader = Reader {
            checkpoint,
            format,
            bytes: Cell::new(0),
            epsilon: NORM_EPSILON,
        };
        let names = Names::of(config.layout);
        Ok(Self {
            encoder: Encoder::read(&reader, &names, &config.vision)?,
            projection: Projection::read(&reader, &names, &config.vision, config.text.dim)?,
            text: TextModel::read(&reader, &names, &config.text)?,
            format: format.clone(),
            weight_bytes: reader.bytes.get(),
            config,
        })
    }

    /// Sizes and template.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Bytes of its weights, in the number formats that they are kept in.
    pub fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    /// The form in which it is computed.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// The number format of activations.
    pub fn dtype(&self) -> DType {
        self.format.dtype
    }

    /// An error unless a launch over so many things of so many elements is one that the device's kernels can count.
    fn fits_launch(&self, what: &str, count: usize, each: usize) -> Result<()> {
        let most = LAUNCH / each.max(1);
        if count > most {
            candle_core::bail!(
                "{count} {what} at once are more than the {most} that fit one launch"
            );
        }
        Ok(())
    }

    /// Encodes images, each given by its views, which must be those of the layout's preprocessor.
    ///
    /// # Errors
    /// The tensor library's, and when the views do not fit together.
    pub fn encode(&self, images: &[&Views], watch: &mut Watch<'_>) -> Result<Prefix> {
        let prepared = images.iter().map(|views| self.prepare(views));
        let prepared: Vec<Prepared> = prepared.collect::<Result<_>>()?;
        self.encode_prepared(&prepared.iter().collect::<Vec<_>>(), watch)
    }

    /// [`Network::encode`] of images that have been [prepared](Network::prepare).
    ///
    /// # Errors
    /// The tensor library's.
    pub fn encode_prepared(&self, images: &[&Prepared], watch: &mut Watch<'_>) -> Result<Prefix> {
        let embeddings = self.embed_prepared(images, watch)?;
        watch(Stage::Projected, &embeddings);
        self.read_images(embeddings)
    }

    /// The second half of [`Network::encode`]: what the language model makes of image embeddings.
    ///
    /// # Errors
    /// The tensor library's.
    pub fn read_images(&self, embeddings: Tensor) -> Result<Prefix> {
        let images = embeddings.dim(0)?;
        let text = &self.config.text;
        let tokens = PACKED_TOKENS.max(self.config.vision.tokens() + 1);
        let widest = text.ff_dim.max(3 * text.dim);
        self.fits_launch("images", images, tokens * widest)?;
        let bos = Tensor::full(self.config.template.bos, (images, 1), &self.format.device)?;
        let tokens = Tensor::cat(&[self.text.embed(&bos)?, embeddings], 1)?;
        Ok(Prefix {
            cache: self.text.prefix(&tokens)?,
        })
    }

    /// What the language model makes of each question about each image, `[images * questions, dim]` after its final norm:
    /// what a head is multiplied with to choose the first token of the answer. Without a prefix there is one "image", and
    /// questions begin at position 0.
    ///
    /// # Errors
    /// The tensor library's; when a question is empty or reaches beyond the context.
    pub fn ask(
        &self,
        prefix: Option<&Prefix>,
        questions: &[&[u32]],
        mut watch: Option<&mut Watch<'_>>,
    ) -> Result<Tensor> {
        let mut answers = Vec::new();
        for run in runs(questions, PACKED_TOKENS) {
            let some = &questions[run.clone()];
            let hidden = self.start(prefix, some, watch.as_deref_mut())?.hidden;
            answers.push(hidden.reshape((
                prefix.map_or(1, Prefix::images),
                run.len(),
                self.config.text.dim,
            ))?);
        }
        let answers = Tensor::cat(&answers, 1)?;
        self.text.normed(&answers.flatten(0, 1)?.contiguous()?)
    }

    /// The logits of the first answer token, `[images * questions, vocab]` f32.
    ///
    /// # Errors
    /// As [`Network::ask`].
    pub fn logits(
        &self,
        prefix: Option<&Prefix>,
        questions: &[&[u32]],
        watch: Option<&mut Watch<'_>>,
    ) -> Result<Tensor> {
        let asked = self.ask(prefix, questions, watch)?;
        self.fits_launch("logits", asked.dim(0)?, self.config.text.vocab)?;
        self.text.logits(&asked)
    }

    /// Takes questions through the model as one packed sequence.
    pub(super) fn start(
        &self,
        prefix: Option<&Prefix>,
        questions: &[&[u32]],
        watch: Option<&mut Watch<'_>>,
    ) -> Result<Asked> {
        let (tree, leaves) = Tree::of(questions);
        let Some(leaves) = leaves.into_iter().collect::<Option<Vec<usize>>>() else {
            candle_core::bail!("a question without tokens cannot be asked");
        };
        let images = prefix.map_or(1, Prefix::images);
        let ids = tree.tokens().repeat(images);
        let tokens = Tensor::from_vec(ids, (images, tree.len()), &self.format.device)?;
        let mut asked = Asked {
            tree,
            last: leaves,
            own: Own::new(),
            hidden: tokens.clone(),
        };
        let wanted: Vec<u32> = asked.last.iter().map(|&leaf| leaf as u32).collect();
        asked.hidden = self.step(
            prefix,
            &asked.tree,
            0,
            &tokens,
            &wanted,
            &mut asked.own,
            watch,
        )?;
        Ok(asked)
    }

    /// Runs the tree's nodes from `first` on; gives the residual stream at `wanted`, counted from `first`.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn step(
        &self,
        prefix: Option<&Prefix>,
        tree: &Tree,
        first: usize,
        tokens: &Tensor,
        wanted: &[u32],
        own: &mut Own,
        watch: Option<&mut Watch<'_>>,
    ) -> Result<Tensor> {
        let nodes = first..tree.len();
        let positions = tree.positions(nodes.clone(), prefix.map_or(0, Prefix::tokens));
        if let Some(position) = positions
            .iter()
            .find(|&&at| at as usize >= self.config.text.context)
        {
            candle_core::bail!(
                "position {position} is beyond the context of {} tokens",
                self.config.text.context
            );
        }
        let mask = self.format.steps.mask(
            tree.mask(nodes.clone()),
            (nodes.len(), tree.len()),
            &self.format.device,
        )?;
        let step = Step {
            tokens,
            positions: &positions,
            mask: &mask,
            wanted,
        };
        let prefix = prefix.map(|prefix| &prefix.cache);
        match watch {
            None => self.text.extend(prefix, own, &step, None),
            Some(watch) => {
                let mut blocks = |x: &Tensor| watch(Stage::TextBlock, x);
                self.text.extend(prefix, own, &step, Some(&mut blocks))
            }
        }
    }

    /// The names of the head's weights and bias in the checkpoint.
    pub(super) fn head_names(&self) -> (String, String) {
        let head = Names::of(self.config.layout).head;
        (format!("{head}.weight"), format!("{head}.bias"))
    }

    /// The device that it runs on.
    pub fn device(&self) -> &Device {
        &self.format.device
    }

    /// The first half of [`Network::encode`]: image embeddings `[images, tokens, text dim]`.
    ///
    /// # Errors
    /// The tensor library's, and when the views do not fit together.
    pub fn embed_images(&self, images: &[&Views], watch: &mut Watch<'_>) -> Result<Tensor> {
        let prepared = images.iter().map(|views| self.prepare(views));
        let prepared: Vec<Prepared> = prepared.collect::<Result<_>>()?;
        self.embed_prepared(&prepared.iter().collect::<Vec<_>>(), watch)
    }

    /// An image's views as the encoder's device takes them, still in the CPU's memory: what of [`Network::embed_images`] is no
    /// arithmetic of the network and can be done ahead.
    ///
    /// # Errors
    /// The tensor library's, and when the views do not fit together.
    pub fn prepare(&self, views: &Views) -> Result<Prepared> {
        let grid = (views.grid.0 as usize, views.grid.1 as usize);
        if !self.fits(views) {
            candle_core::bail!(
                "an image cut into {} x {} has {} views of {} pixels here, not {} of {}",
                grid.0,
                grid.1,
                self.views_of(views.grid),
                self.config.vision.crop,
                views.count(),
                views.side
            );
        }
        let (side, patch) = (self.config.vision.crop, self.config.vision.patch);
        let patches = match self.config.layout {
            Layout::V2024 if grid != (1, 1) => {
                let samples = with_overview(&views.data, side, grid);
                patch_vectors(&samples, side, patch, |x| x)?.to_dtype(self.format.dtype)?
            }
            Layout::V2024 | Layout::V2025 => prepared(&views.data, (side, patch), &self.format)?,
        };
        Ok(Prepared { patches, grid })
    }

    /// [`Network::embed_images`] of images that have been prepared.
    ///
    /// # Errors
    /// The tensor library's.
    pub fn embed_prepared(&self, images: &[&Prepared], watch: &mut Watch<'_>) -> Result<Tensor> {
        let counts = images.iter().map(|image| image.patches.dim(0));
        let counts: Vec<usize> = counts.collect::<Result<_>>()?;
        let vision = &self.config.vision;
        self.fits_launch("views", counts.iter().sum(), vision.tokens() * vision.dim)?;
        let features = self.encode_views(images, watch)?;
        if counts.iter().all(|&count| count == 1) {
            // Each is its own overview and all that there is to see.
            for image in 0..images.len() {
                watch(Stage::Pooled, &features.get(image)?);
            }
            return self.projection.forward(&features, &features);
        }
        let mut start = 0;
        let (mut overviews, mut locals) = (Vec::new(), Vec::new());
        for (image, count) in images.iter().zip(counts) {
            let overview = features.get(start)?;
            locals.push(if count == 1 {
                overview.clone()
            } else {
                let margin = match self.config.layout {
                    Layout::V2025 => self.config.vision.overlap_margin,
                    Layout::V2024 => 0,
                };
                let tiles = features.narrow(0, start + 1, count - 1)?;
                let stitched = stitch(&tiles, image.grid, self.config.vision.grid(), margin)?;
                watch(Stage::Stitched, &stitched);
                pool(&stitched, self.config.vision.grid())?
            });
            if let Some(local) = locals.last() {
                watch(Stage::Pooled, local);
            }
            overviews.push(overview);
            start += count;
        }
        self.projection
            .forward(&Tensor::stack(&overviews, 0)?, &Tensor::stack(&locals, 0)?)
    }

    /// The features of all views, whichever images they belong to, `[views, tokens, dim]`.
    fn encode_views(&self, images: &[&Prepared], watch: &mut Watch<'_>) -> Result<Tensor> {
        let at_once = if self.format.device.is_cpu() {
            VIEWS_AT_ONCE.0
        } else {
            VIEWS_AT_ONCE.1
        };
        let patches: Vec<&Tensor> = images.iter().map(|image| &image.patches).collect();
        let patches = on_device(&patches, self.config.vision.patch, &self.format)?;
        let views = patches.dim(0)?;
        let mut features = Vec::new();
        for start in (0..views).step_by(at_once) {
            let some = patches.narrow(0, start, at_once.min(views - start))?;
            watch(Stage::Patches, &some);
            let out = self
                .encoder
                .forward(&some, |x| watch(Stage::VisionBlock, x))?;
            watch(Stage::VisionOut, &out);
            features.push(out);
        }
        Tensor::cat(&features, 0)
    }

    /// How many views the layout's preprocessor makes of an image with this grid of tiles.
    pub(super) fn views_of(&self, (rows, cols): (u32, u32)) -> usize {
        let tiles = rows as usize * cols as usize;
        match self.config.layout {
            Layout::V2025 if tiles > 1 => tiles + 1,
            _ => tiles,
        }
    }

    /// Whether these are views as the layout's preprocessor makes them.
    pub(super) fn fits(&self, views: &Views) -> bool {
        let side = self.config.vision.crop;
        let bytes = self.views_of(views.grid).checked_mul(side * side * 3);
        views.side as usize == side && !views.data.is_empty() && bytes == Some(views.data.len())
    }
}

/// The samples of tiles as the encoder takes them, `[rows * cols, side, side, 3]`, behind those of the whole picture at the size of
/// one.
fn with_overview(tiles: &[u8], side: usize, grid: (usize, usize)) -> Vec<f32> {
    let samples: Vec<f32> = tiles.iter().map(|&sample| normalise(sample)).collect();
    let mut all = shrink(&samples, side, grid);
    all.extend(samples);
    all
}

/// Questions that the model has read, and where each stands.
pub(super) struct Asked {
    pub(super) tree: Tree,
    /// The last node of each question.
    pub(super) last: Vec<usize>,
    pub(super) own: Own,
    /// The residual stream at the last nodes, `[images * questions, dim]`.
    pub(super) hidden: Tensor,
}

/// A picture cut into tiles, `[rows * cols, side, side, 3]`, at the size of one tile: each sample is the mean of a block of
/// `rows` x `cols` neighbours, which is what bilinear interpolation without antialiasing gives for halves.
fn shrink(tiles: &[f32], side: usize, (rows, cols): (usize, usize)) -> Vec<f32> {
    let at = |y: usize, x: usize, channel: usize| {
        let tile = y / side * cols + x / side;
        tiles[((tile * side + y % side) * side + x % side) * 3 + channel]
    };
    let weight = 1.0 / (rows * cols) as f32;
    let mut small = Vec::with_capacity(side * side * 3);
    for y in 0..side {
        for x in 0..side {
            for channel in 0..3 {
                let block =
                    (0..rows * cols).map(|i| at(y * rows + i / cols, x * cols + i % cols, channel));
                small.push(block.sum::<f32>() * weight);
            }
        }
    }
    small
}
