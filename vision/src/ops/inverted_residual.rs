//! The inverted residual block (MobileNetV2, arXiv:1801.04381, without squeeze-and-excite) as one op.
//!
//! Its middle is six times as wide as its ends: written out whole, an image's middle would go to memory and
//! back twice. So the block is computed in strips of rows: expand the rows that a strip needs into a ring, filter
//! them depthwise, project the result; all of it stays in the core's own cache.

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp1, Error, Layout, Result, Shape};
use pulp::{Arch, Simd, WithSimd};

use super::pointwise::{Pixels, Target};
use super::{Activation, BLOCK, Depthwise, Pointwise, Same, blocks, scratch};

/// Values that a strip may keep at once: 512 KiB, which leaves room for weights in a 1 MiB second-level cache.
const STRIP_VALUES: usize = 128 << 10;

/// Expansion, depthwise filter and projection, with the residual sum where input and output have one shape.
#[derive(Debug, Clone)]
pub struct InvertedResidual {
    expand: Option<Pointwise>,
    depthwise: Depthwise,
    project: Pointwise,
}

impl InvertedResidual {
    /// A block of these layers; without `expand` the filter works on the block's input.
    ///
    /// # Errors
    /// When the layers' channels do not follow from one another.
    pub fn new(
        expand: Option<Pointwise>,
        depthwise: Depthwise,
        project: Pointwise,
    ) -> Result<Self> {
        let expanded = expand.as_ref().map(Pointwise::outputs);
        let hidden = depthwise.channels();
        if expanded.is_some_and(|channels| channels != hidden) || project.inputs() != hidden {
            return Err(Error::Msg(format!(
                "an inverted residual cannot expand to {expanded:?}, filter {hidden} and project {} channels",
                project.inputs()
            )));
        }
        Ok(Self {
            expand,
            depthwise,
            project,
        })
    }

    fn inputs(&self) -> usize {
        let expand = self.expand.as_ref();
        expand.map_or(self.depthwise.channels(), Pointwise::inputs)
    }

    fn residual(&self) -> bool {
        self.depthwise.stride() == 1 && self.inputs() == self.project.outputs()
    }

    /// Puts these rows of the image's middle into the ring. `places` has the place in the ring of every pixel.
    #[inline(always)]
    fn fill<S: Simd>(
        &self,
        simd: S,
        strips: &Strips,
        image: &[f32],
        rows: Range<usize>,
        places: &[usize],
        ring: &mut [f32],
    ) {
        let (h, w) = strips.input;
        let places = &places[rows.start * w..rows.end * w];
        let Some(expand) = &self.expand else {
            for (block, plane) in image.chunks_exact(h * w * BLOCK).enumerate() {
                let lines = plane[rows.start * w * BLOCK..].chunks_exact(w * BLOCK);
                for (line, places) in lines.zip(places.chunks_exact(w)) {
                    let start = places[0] + block * strips.plane();
                    ring[start..start + line.len()].copy_from_slice(line);
                }
            }
            return;
        };
        let pixels = Pixels {
            values: &image[rows.start * w * BLOCK..],
            plane: h * w * BLOCK,
            count: places.len(),
        };
        let target = Target {
            values: ring,
            plane: strips.plane(),
            start: |pixel| places[pixel],
            residual: None,
        };
        expand.run(simd, pixels, target);
    }
}

impl CustomOp1 for InvertedResidual {
    fn name(&self) -> &'static str {
        "inverted residual"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let input = Activation::read(self.name(), storage, layout, self.inputs())?;
        let strips = Strips::new(&self.depthwise, input.height, input.width);
        let (rows, columns) = (strips.rows.output, strips.columns.output);
        let shape = [
            input.batch,
            blocks(self.project.outputs()),
            rows,
            columns,
            BLOCK,
        ];
        let mut output = vec![0.0; shape.iter().product()];
        scratch::with(strips.values(), |memory| {
            Arch::new().dispatch(Blocks {
                op: self,
                strips,
                memory,
                input: input.values,
                output: &mut output,
            });
        });
        Ok((CpuStorage::F32(output), Shape::from(&shape[..])))
    }
}

/// How an image is cut into strips, and where a strip's values lie.
#[derive(Debug, Clone, Copy)]
struct Strips {
    /// The input's height and width.
    input: (usize, usize),
    rows: Same,
    columns: Same,
    /// Blocks of channels of the middle.
    hidden: usize,
    stride: usize,
    kernel: usize,
    /// Output rows of a strip.
    height: usize,
}

impl Strips {
    fn new(depthwise: &Depthwise, h: usize, w: usize) -> Self {
        let (rows, columns) = (depthwise.same(h), depthwise.same(w));
        let mut strips = Self {
            input: (h, w),
            rows,
            columns,
            hidden: blocks(depthwise.channels()),
            stride: depthwise.stride(),
            kernel: depthwise.kernel(),
            height: 1,
        };
        while strips.height < rows.output {
            strips.height += 1;
            if strips.values() > STRIP_VALUES {
                strips.height -= 1;
                break;
            }
        }
        strips
    }

    /// Rows of the ring: what the filter sees for one strip.
    fn slots(&self) -> usize {
        (self.height - 1) * self.stride + self.kernel
    }

    /// Values of one block of a padded row of the middle.
    fn plane(&self) -> usize {
        (self.input.1 + self.columns.total) * BLOCK
    }

    /// Values of one padded row of the middle, `[hidden, width, BLOCK]`.
    fn pitch(&self) -> usize {
        self.hidden * self.plane()
    }

    /// Values of the ring and the row of zeros that stands for what lies outside the image.
    fn ring(&self) -> usize {
        (self.slots() + 1) * self.pitch()
    }

    /// Where input row `y` of the middle begins, counted from the first row of padding.
    fn row(&self, y: usize) -> usize {
        let inside = y
            .checked_sub(self.rows.before)
            .filter(|&y| y < self.input.0);
        inside.map_or(self.slots(), |y| y % self.slots()) * self.pitch()
    }

    /// The place in the ring of each pixel of an image.
    fn places(&self) -> Vec<usize> {
        let (h, w) = self.input;
        let margin = self.columns.before * BLOCK;
        let row = |y| self.row(y + self.rows.before) + margin;
        (0..h)
            .flat_map(|y| (0..w).map(move |x| row(y) + x * BLOCK))
            .collect()
    }

    /// Clears what stands for the outside of the image; only the pixels between are ever written later.
    fn clear_padding(&self, ring: &mut [f32]) {
        let left = self.columns.before * BLOCK;
        let right = left + self.input.1 * BLOCK;
        for line in ring.chunks_exact_mut(self.plane()) {
            line[..left].fill(0.0);
            line[right..].fill(0.0);
        }
        ring[self.slots() * self.pitch()..].fill(0.0);
    }

    /// Values in all: the ring and a strip of the filter's output.
    fn values(&self) -> usize {
        self.ring() + self.height * self.columns.output * self.hidden * BLOCK
    }
}

struct Blocks<'a> {
    op: &'a InvertedResidual,
    strips: Strips,
    memory: &'a mut [f32],
    input: &'a [f32],
    output: &'a mut [f32],
}

impl WithSimd for Blocks<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { op, strips, .. } = self;
        let (ring, filtered) = self.memory.split_at_mut(strips.ring());
        strips.clear_padding(ring);
        let places = strips.places();
        let (height, width) = (strips.rows.output, strips.columns.output);
        let input = blocks(op.inputs()) * strips.input.0 * strips.input.1 * BLOCK;
        let output = blocks(op.project.outputs()) * height * width * BLOCK;
        let images = self.input.chunks_exact(input);
        for (image, output) in images.zip(self.output.chunks_exact_mut(output)) {
            let mut done = 0;
            for first in (0..height).step_by(strips.height) {
                let rows = strips.height.min(height - first);
                let seen = (first + rows - 1) * strips.stride + strips.kernel;
                let end = seen
                    .saturating_sub(strips.rows.before)
                    .clamp(done, strips.input.0);
                op.fill(simd, &strips, image, done..end, &places, ring);
                done = end;

                let count = rows * width;
                let filtered = &mut filtered[..strips.hidden * count * BLOCK];
                let row = |r: usize, tap: usize| strips.row((first + r) * strips.stride + tap);
                op.depthwise
                    .run(simd, ring, strips.plane(), row, width, filtered);

                let pixels = Pixels {
                    values: filtered,
                    plane: count * BLOCK,
                    count,
                };
                let target = Target {
                    values: &mut *output,
                    plane: height * width * BLOCK,
                    start: |pixel| (first * width + pixel) * BLOCK,
                    residual: op.residual().then_some(image),
                };
                op.project.run(simd, pixels, target);
            }
        }
    }
}
