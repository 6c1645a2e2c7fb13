//! Reads the network from the safetensors file that `convert.py` writes: convolutions with their batch norms folded in.
//!
//! Widths are those of the tensors, which must fit each other. The class predictors, three quarters of the file, stay where they are as 8-bit
//! integers `[classes, anchors, 9, inputs]`; the rows of the classes asked for become f32.

use candle_core::{Error, Result};
use half::f16;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{ANCHORS, EXTRAS, FIRST_MAP, NORMALISE, Network, STRIDES};
use crate::ops::{Depthwise, InvertedResidual, PeakHead, Pointwise, Stem};

/// Side of every filter that is not pointwise.
const KERNEL: usize = 3;

pub(super) fn network(bytes: &'static [u8]) -> Result<Network> {
    let file = SafeTensors::deserialize(bytes).map_err(Error::wrap)?;
    let reader = Reader { file };
    let stem = reader.layer("stem")?;
    let block = |index: usize| {
        let name = format!("blocks.{index}");
        let expand = match index {
            0 | FIRST_MAP => None,
            _ => Some(reader.pointwise(&format!("{name}.expand"), true)?),
        };
        reader.block(&name, expand, STRIDES[index], false)
    };
    let extra = |index: usize| {
        let name = format!("extras.{index}");
        let expand = reader.pointwise(&format!("{name}.expand"), true)?;
        reader.block(&name, Some(expand), 2, true)
    };
    let predictors = ANCHORS.iter().enumerate();
    Ok(Network {
        stem: Stem::new(NORMALISE, &stem.weights, &stem.bias)?,
        before: (0..FIRST_MAP).map(block).collect::<Result<_>>()?,
        widen: reader.pointwise(&format!("blocks.{FIRST_MAP}.expand"), true)?,
        behind: (FIRST_MAP..STRIDES.len())
            .map(block)
            .collect::<Result<_>>()?,
        last: reader.pointwise("last", true)?,
        extras: (0..EXTRAS).map(extra).collect::<Result<_>>()?,
        predictors: predictors
            .map(|(map, &anchors)| reader.predictor(map, anchors))
            .collect::<Result<_>>()?,
    })
}

/// The class predictor of one map.
#[derive(Debug, Clone)]
pub(super) struct Predictor {
    anchors: usize,
    inputs: usize,
    /// `[classes, anchors, 9, inputs]`.
    weights: &'static [u8],
    /// `[classes, anchors]`: what a weight of 1 stands for.
    scales: Vec<f32>,
    /// `[classes, anchors]`.
    bias: Vec<f32>,
}

impl Predictor {
    /// The predictor of these classes: one output for each anchor of each class.
    pub(super) fn head(&self, classes: &[u16]) -> Result<PeakHead> {
        let filter = PeakHead::TAPS * self.inputs;
        let outputs = classes.len() * self.anchors;
        let mut weights = Vec::with_capacity(outputs * filter);
        let mut bias = Vec::with_capacity(outputs);
        for &class in classes {
            for anchor in 0..self.anchors {
                let row = usize::from(class) * self.anchors + anchor;
                let (Some(&scale), Some(&one)) = (self.scales.get(row), self.bias.get(row)) else {
                    return Err(Error::Msg(format!(
                        "there is no class {class} among the network's {}",
                        self.bias.len() / self.anchors
                    )));
                };
                let values = &self.weights[row * filter..(row + 1) * filter];
                weights.extend(
                    values
                        .iter()
                        .map(|&byte| f32::from(byte.cast_signed()) * scale),
                );
                bias.push(one);
            }
        }
        PeakHead::new(self.inputs, &weights, &bias)
    }
}

/// A convolution's weights in row-major order, output channels first.
struct Layer {
    shape: Vec<usize>,
    weights: Vec<f32>,
    bias: Vec<f32>,
}

struct Reader {
    file: SafeTensors<'static>,
}

impl Reader {
    fn view(&self, name: &str, dtype: Dtype) -> Result<TensorView<'static>> {
        let view = self.file.tensor(name).map_err(Error::wrap)?;
        if view.dtype() != dtype {
            return Err(Error::Msg(format!(
                "tensor {name} is of type {:?}, but {dtype:?} is expected",
                view.dtype()
            )));
        }
        Ok(view)
    }

    fn singles(&self, name: &str, count: usize) -> Result<Vec<f32>> {
        let view = self.view(name, Dtype::F32)?;
        let (values, _) = view.data().as_chunks();
        if values.len() != count {
            return Err(shape_error(name, view.shape()));
        }
        Ok(values.iter().copied().map(f32::from_le_bytes).collect())
    }

    fn layer(&self, name: &str) -> Result<Layer> {
        let weights = format!("{name}.weight");
        let view = self.view(&weights, Dtype::F16)?;
        let &[outputs, _, _, _] = view.shape() else {
            return Err(shape_error(&weights, view.shape()));
        };
        let (values, _) = view.data().as_chunks();
        Ok(Layer {
            shape: view.shape().to_vec(),
            weights: values
                .iter()
                .map(|&bytes| f16::from_le_bytes(bytes).to_f32())
                .collect(),
            bias: self.singles(&format!("{name}.bias"), outputs)?,
        })
    }

    fn pointwise(&self, name: &str, relu6: bool) -> Result<Pointwise> {
        let layer = self.layer(name)?;
        match layer.shape[..] {
            [_, inputs, 1, 1] => Pointwise::new(inputs, &layer.weights, &layer.bias, relu6),
            _ => Err(shape_error(name, &layer.shape)),
        }
    }

    fn block(
        &self,
        name: &str,
        expand: Option<Pointwise>,
        stride: usize,
        relu6: bool,
    ) -> Result<InvertedResidual> {
        let filter = format!("{name}.depthwise");
        let layer = self.layer(&filter)?;
        if layer.shape[1..] != [1, KERNEL, KERNEL] {
            return Err(shape_error(&filter, &layer.shape));
        }
        let depthwise = Depthwise::new(KERNEL, stride, &layer.weights, &layer.bias)?;
        let project = self.pointwise(&format!("{name}.project"), relu6)?;
        InvertedResidual::new(expand, depthwise, project)
    }

    fn predictor(&self, map: usize, anchors: usize) -> Result<Predictor> {
        let name = format!("classes.{map}.weight");
        let view = self.view(&name, Dtype::I8)?;
        let &[classes, found, PeakHead::TAPS, inputs] = view.shape() else {
            return Err(shape_error(&name, view.shape()));
        };
        if found != anchors {
            return Err(shape_error(&name, view.shape()));
        }
        Ok(Predictor {
            anchors,
            inputs,
            weights: view.data(),
            scales: self.singles(&format!("classes.{map}.scale"), classes * anchors)?,
            bias: self.singles(&format!("classes.{map}.bias"), classes * anchors)?,
        })
    }
}

fn shape_error(name: &str, shape: &[usize]) -> Error {
    Error::Msg(format!(
        "tensor {name} has the shape {shape:?}, which does not fit the network"
    ))
}
