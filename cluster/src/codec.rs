//! Plans as bytes between the programs of a cluster: Ballista's own nodes, picsift's operator, and units of jobs.

use std::fmt;
use std::sync::Arc;

use ballista_core::serde::{BallistaLogicalExtensionCodec, BallistaPhysicalExtensionCodec};
use bytes::Bytes;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, WindowUDF};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_common::physical_expr::proto_decode::PhysicalExprDecodeCtx;
use datafusion::physical_expr_common::physical_expr::proto_encode::PhysicalExprEncodeCtx;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use picsift_udf::{Engine, InferCodec};

use crate::message::{Say, marked};
use crate::units::{UnitsExec, UnitsOn};

/// What the bytes of units begin with; a line of executors that they are kept from follows, and the job.
const UNITS: &[u8] = b"picsift.units.2:";

/// Writes and reads the plans of a cluster; see the module.
pub(crate) struct ClusterCodec {
    inner: InferCodec,
    /// What does units, on an executor.
    units: Option<UnitsOn>,
    say: Say,
}

impl fmt::Debug for ClusterCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterCodec").finish_non_exhaustive()
    }
}

/// Operators ask `engine`, which describes their models when they are read.
pub(crate) fn physical(
    engine: &Arc<Engine>,
    units: Option<UnitsOn>,
    say: Say,
) -> Arc<dyn PhysicalExtensionCodec> {
    Arc::new(ClusterCodec {
        inner: InferCodec::new(Arc::clone(engine))
            .with_physical(Arc::new(BallistaPhysicalExtensionCodec::default())),
        units,
        say,
    })
}

/// The same of logical plans.
pub(crate) fn logical(engine: &Arc<Engine>) -> Arc<dyn LogicalExtensionCodec> {
    let codec = InferCodec::new(Arc::clone(engine));
    Arc::new(codec.with_logical(Arc::new(BallistaLogicalExtensionCodec::default())))
}

impl ClusterCodec {
    fn inner(&self) -> &dyn PhysicalExtensionCodec {
        &self.inner
    }
}

impl PhysicalExtensionCodec for ClusterCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(units) = bytes.strip_prefix(UNITS) else {
            let read = self.inner().try_decode(bytes, inputs, context, converter);
            // A model that cannot be had here is what a person should hear of.
            return read.map_err(|error| {
                datafusion::error::DataFusionError::Execution(marked(&(self.say)(&error)))
            });
        };
        let input = inputs.first().cloned();
        let input = input.ok_or_else(|| internal_datafusion_err!("UnitsExec needs an input"))?;
        let cut = units.iter().position(|byte| *byte == b'\n');
        let (not_on, job) = cut
            .and_then(|cut| Some((std::str::from_utf8(&units[..cut]).ok()?, &units[cut + 1..])))
            .ok_or_else(|| internal_datafusion_err!("units do not say who could not do them"))?;
        let not_on = not_on.split_terminator(',').map(str::to_string).collect();
        let (job, by) = (Bytes::copy_from_slice(job), self.units.clone());
        Ok(Arc::new(UnitsExec::new(job, not_on, input, by)))
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        bytes: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let Some(units) = node.downcast_ref::<UnitsExec>() else {
            return self.inner().try_encode(node, bytes, converter);
        };
        bytes.extend_from_slice(UNITS);
        bytes.extend_from_slice(units.not_on.join(",").as_bytes());
        bytes.push(b'\n');
        bytes.extend_from_slice(&units.job);
        Ok(())
    }

    fn try_decode_udf(&self, name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
        self.inner().try_decode_udf(name, bytes)
    }

    fn try_encode_udf(&self, function: &ScalarUDF, bytes: &mut Vec<u8>) -> Result<()> {
        self.inner().try_encode_udf(function, bytes)
    }

    fn try_decode_higher_order_function(
        &self,
        name: &str,
        bytes: &[u8],
    ) -> Result<Arc<HigherOrderUDF>> {
        self.inner().try_decode_higher_order_function(name, bytes)
    }

    fn try_encode_higher_order_function(
        &self,
        function: &HigherOrderUDF,
        bytes: &mut Vec<u8>,
    ) -> Result<()> {
        self.inner()
            .try_encode_higher_order_function(function, bytes)
    }

    fn try_decode_expr(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn PhysicalExpr>],
        context: &PhysicalExprDecodeCtx<'_>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        self.inner().try_decode_expr(bytes, inputs, context)
    }

    fn try_encode_expr(
        &self,
        expr: &Arc<dyn PhysicalExpr>,
        bytes: &mut Vec<u8>,
        context: &PhysicalExprEncodeCtx<'_>,
    ) -> Result<()> {
        self.inner().try_encode_expr(expr, bytes, context)
    }

    fn try_decode_udaf(&self, name: &str, bytes: &[u8]) -> Result<Arc<AggregateUDF>> {
        self.inner().try_decode_udaf(name, bytes)
    }

    fn try_encode_udaf(&self, function: &AggregateUDF, bytes: &mut Vec<u8>) -> Result<()> {
        self.inner().try_encode_udaf(function, bytes)
    }

    fn try_decode_udwf(&self, name: &str, bytes: &[u8]) -> Result<Arc<WindowUDF>> {
        self.inner().try_decode_udwf(name, bytes)
    }

    fn try_encode_udwf(&self, function: &WindowUDF, bytes: &mut Vec<u8>) -> Result<()> {
        self.inner().try_encode_udwf(function, bytes)
    }
}
