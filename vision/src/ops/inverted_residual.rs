//! The inverted residual block (MobileNetV2, arXiv:1801.04381, without squeeze-and-excite) as one op.
//!
//! Its middle is six times as wide as its ends: written out whole, an image's middle would go to memory and
//! back twice. So the block is computed in strips of rows: expand the rows that a strip needs into a ring, filter
//! them depthwise, project the result; all of it stays in the core's own cache.

use candle_core::{CpuStorage, CustomOp1, Error, Layout, Result, Shape};
use pulp::{Arch, Simd, WithSimd};

use super::pointwise::{Pixels, Target};
use super::{Depthwise, Pointwise, Same, nhwc, padded, scratch};

/// Values that a strip may keep at once: 384 KiB, which leaves room for weights in a 1 MiB second-level cache.
const STRIP_VALUES: usize = 96 << 10;

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
}

impl CustomOp1 for InvertedResidual {
    fn name(&self) -> &'static str {
        "inverted residual"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let stored = padded(self.inputs());
        let (values, [n, h, w, _]) = nhwc(self.name(), storage, layout, stored)?;
        if h == 0 || w == 0 {
            return Err(Error::Msg(format!("{} takes no empty image", self.name())));
        }
        let strips = Strips::new(&self.depthwise, h, w);
        let outputs = padded(self.project.outputs());
        let shape = Shape::from((n, strips.rows.output, strips.columns.output, outputs));
        let mut output = vec![0.0; shape.elem_count()];
        scratch::with(strips.values(), |memory| {
            Arch::new().dispatch(Block {
                op: self,
                strips,
                memory,
                input: values,
                output: &mut output,
            });
        });
        Ok((CpuStorage::F32(output), shape))
    }
}

/// How an image is cut into strips, and where a strip's values lie.
#[derive(Debug, Clone, Copy)]
struct Strips {
    /// The input's height and width.
    input: (usize, usize),
    rows: Same,
    columns: Same,
    /// Stored channels of the middle.
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
            hidden: padded(depthwise.channels()),
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

    /// Values of one padded row of the middle.
    fn pitch(&self) -> usize {
        (self.input.1 + self.columns.total) * self.hidden
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

    /// Values in all: the ring and a strip of the filter's output.
    fn values(&self) -> usize {
        self.ring() + self.height * self.columns.output * self.hidden
    }
}

struct Block<'a> {
    op: &'a InvertedResidual,
    strips: Strips,
    memory: &'a mut [f32],
    input: &'a [f32],
    output: &'a mut [f32],
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { op, strips, .. } = self;
        let (h, w) = strips.input;
        let inputs = padded(op.inputs());
        let outputs = padded(op.project.outputs());
        let (ring, filtered) = self.memory.split_at_mut(strips.ring());
        // The padding stays zero from here on: only the pixels between are ever written.
        ring.fill(0.0);
        let mut starts = Vec::with_capacity(strips.slots() * w);

        let images = self.input.chunks_exact(h * w * inputs);
        let size = strips.rows.output * strips.columns.output * outputs;
        for (image, output) in images.zip(self.output.chunks_exact_mut(size)) {
            let mut done = 0;
            for first in (0..strips.rows.output).step_by(strips.height) {
                let height = strips.height.min(strips.rows.output - first);
                let seen = (first + height - 1) * strips.stride + strips.kernel;
                let end = seen.saturating_sub(strips.rows.before).min(h);
                let margin = strips.columns.before * strips.hidden;
                starts.clear();
                for y in done..end {
                    let row = strips.row(y + strips.rows.before) + margin;
                    starts.extend((0..w).map(|x| row + x * strips.hidden));
                }
                let fresh = &image[done * w * inputs..end.max(done) * w * inputs];
                done = end.max(done);
                match &op.expand {
                    Some(expand) => {
                        let pixels = Pixels {
                            values: fresh,
                            stride: inputs,
                            rows: starts.len(),
                        };
                        let target = Target {
                            values: &mut *ring,
                            starts: &starts,
                            residual: None,
                        };
                        expand.run(simd, pixels, target);
                    }
                    None => {
                        for (pixel, &start) in fresh.chunks_exact(inputs).zip(&starts) {
                            ring[start..start + inputs].copy_from_slice(pixel);
                        }
                    }
                }

                let pixels = height * strips.columns.output;
                let filtered = &mut filtered[..pixels * strips.hidden];
                let row = |r: usize, tap: usize| strips.row((first + r) * strips.stride + tap);
                op.depthwise
                    .run(simd, ring, row, strips.columns.output, filtered);

                let offset = first * strips.columns.output * outputs;
                starts.clear();
                starts.extend((0..pixels).map(|pixel| offset + pixel * outputs));
                let pixels = Pixels {
                    values: filtered,
                    stride: strips.hidden,
                    rows: pixels,
                };
                let target = Target {
                    values: &mut *output,
                    starts: &starts,
                    residual: op.residual().then_some(image),
                };
                op.project.run(simd, pixels, target);
            }
        }
    }
}
