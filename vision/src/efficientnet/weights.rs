//! Reads a network's weights from a safetensors file and folds each batch norm into the convolution before it.
//!
//! `w' = w * gamma / sqrt(variance + eps)` and `b' = beta - mean * gamma / sqrt(variance + eps)`, per output
//! channel: at inference the two layers are one, and the ops take one bias.

use candle_core::safetensors::SliceSafetensors;
use candle_core::{DType, Device, Error, Result, Tensor};
use candle_nn::Linear;

use super::{Config, Network};
use crate::ops::{Depthwise, InvertedResidual, Pointwise, PooledHead, Stem};

pub(super) fn network(config: &Config, bytes: &[u8]) -> Result<Network> {
    let reader = Reader {
        file: SliceSafetensors::new(bytes)?,
        eps: config.batch_norm_eps,
    };
    let shape = [config.stem, Stem::INPUTS, Stem::KERNEL, Stem::KERNEL];
    let (weights, bias) = reader.folded("_conv_stem", "_bn0", &shape)?;
    let stem = Stem::new(config.normalise, &weights, &bias)?;

    let mut blocks = Vec::new();
    let mut channels = config.stem;
    for stage in &config.stages {
        for index in 0..stage.blocks {
            let name = format!("_blocks.{}", blocks.len());
            let hidden = channels * stage.expand;
            let expand = (stage.expand != 1)
                .then(|| {
                    let (conv, norm) = (format!("{name}._expand_conv"), format!("{name}._bn0"));
                    reader.pointwise(&conv, &norm, channels, hidden, true)
                })
                .transpose()?;
            let kernel = stage.kernel;
            let (weights, bias) = reader.folded(
                &format!("{name}._depthwise_conv"),
                &format!("{name}._bn1"),
                &[hidden, 1, kernel, kernel],
            )?;
            let stride = if index == 0 { stage.stride } else { 1 };
            let depthwise = Depthwise::new(kernel, stride, &weights, &bias)?;
            let (conv, norm) = (format!("{name}._project_conv"), format!("{name}._bn2"));
            let project = reader.pointwise(&conv, &norm, hidden, stage.channels, false)?;
            blocks.push(InvertedResidual::new(expand, depthwise, project)?);
            channels = stage.channels;
        }
    }
    let head = reader.pointwise("_conv_head", "_bn1", channels, config.head, true)?;
    let classify = Linear::new(
        reader.tensor("_fc.weight", &[config.classes, config.head])?,
        Some(reader.tensor("_fc.bias", &[config.classes])?),
    );
    Ok(Network {
        stem,
        blocks,
        head: PooledHead::new(head),
        classify,
    })
}

struct Reader<'a> {
    file: SliceSafetensors<'a>,
    eps: f32,
}

impl Reader<'_> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let tensor = self.file.load(name, &Device::Cpu)?;
        if tensor.dims() != shape {
            return Err(Error::Msg(format!(
                "tensor {name} has the shape {:?}, but {shape:?} is expected",
                tensor.dims()
            )));
        }
        tensor.to_dtype(DType::F32)
    }

    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.tensor(name, shape)?.flatten_all()?.to_vec1()
    }

    /// A convolution's weights of this shape, output channels first, and its bias, with the norm folded in.
    fn folded(&self, conv: &str, norm: &str, shape: &[usize]) -> Result<(Vec<f32>, Vec<f32>)> {
        let channels = shape[..1].iter().sum::<usize>();
        let mut weights = self.values(&format!("{conv}.weight"), shape)?;
        let part = |part| self.values(&format!("{norm}.{part}"), &[channels]);
        let (gamma, beta) = (part("weight")?, part("bias")?);
        let (mean, variance) = (part("running_mean")?, part("running_var")?);
        let filter = weights.len() / channels.max(1);
        let mut bias = Vec::with_capacity(channels);
        for (channel, filter) in weights.chunks_exact_mut(filter.max(1)).enumerate() {
            let scale = gamma[channel] / (variance[channel] + self.eps).sqrt();
            filter.iter_mut().for_each(|weight| *weight *= scale);
            bias.push(beta[channel] - mean[channel] * scale);
        }
        Ok((weights, bias))
    }

    fn pointwise(
        &self,
        conv: &str,
        norm: &str,
        inputs: usize,
        outputs: usize,
        relu6: bool,
    ) -> Result<Pointwise> {
        let (weights, bias) = self.folded(conv, norm, &[outputs, inputs, 1, 1])?;
        Pointwise::new(inputs, &weights, &bias, relu6)
    }
}
