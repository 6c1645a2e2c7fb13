//! Plans with picsift's operator as bytes, for an engine that runs them on other machines.
//!
//! [`InferCodec`] writes and reads the operator, logical and physical, and calls that no operator has gathered yet. The other
//! side resolves the calls again with its own [`Engine`]: models are described there, and started when the plan runs. All else it leaves to
//! the codec that it wraps.

mod wire;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::{DataFusionError, Result, TableReference, plan_datafusion_err};
use datafusion::datasource::file_format::FileFormatFactory;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{
    AggregateUDF, Expr, Extension, HigherOrderUDF, LogicalPlan, ScalarUDF, WindowUDF,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_common::physical_expr::proto_decode::PhysicalExprDecodeCtx;
use datafusion::physical_expr_common::physical_expr::proto_encode::PhysicalExprEncodeCtx;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::logical_plan::from_proto::parse_expr;
use datafusion_proto::logical_plan::to_proto::serialize_expr;
use datafusion_proto::logical_plan::{DefaultLogicalExtensionCodec, LogicalExtensionCodec};
use datafusion_proto::physical_plan::from_proto::parse_physical_expr;
use datafusion_proto::physical_plan::{
    DefaultPhysicalExtensionCodec, PhysicalExtensionCodec, PhysicalProtoConverterExtension,
};
use prost::Message;

use crate::exec::InferExec;
use crate::functions::embed_text::EmbedText;
use crate::functions::session_model::SessionModel;
use crate::functions::similarity::Similarity;
use crate::pipeline::engine::Engine;
use crate::pipeline::stats::RunStats;
use crate::plan::call::ResolvedFunction;
use crate::plan::conditional::{self, Coalesce};
use crate::plan::inference_group::answer_fields;
use crate::plan::node::Infer;

/// Writes and reads plans with picsift's operator; see the module.
#[derive(Clone)]
pub struct InferCodec {
    engine: Arc<Engine>,
    logical: Arc<dyn LogicalExtensionCodec>,
    physical: Arc<dyn PhysicalExtensionCodec>,
}

impl InferCodec {
    /// A codec whose plans run on `engine`, and that knows no other extension.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            logical: Arc::new(DefaultLogicalExtensionCodec {}),
            physical: Arc::new(DefaultPhysicalExtensionCodec {}),
        }
    }

    /// The same with `logical` for all that is not picsift's.
    pub fn with_logical(self, logical: Arc<dyn LogicalExtensionCodec>) -> Self {
        Self { logical, ..self }
    }

    /// The same with `physical` for all that is not picsift's.
    pub fn with_physical(self, physical: Arc<dyn PhysicalExtensionCodec>) -> Self {
        Self { physical, ..self }
    }

    /// The function of a call that was written; `None` for bytes that are no call.
    fn function(&self, bytes: &[u8]) -> Option<Result<Arc<ScalarUDF>>> {
        if bytes == COALESCE {
            return Some(Ok(Arc::clone(&conditional::COALESCE)));
        }
        if bytes == SIMILARITY {
            return Some(Ok(Arc::new(Similarity::new().into_udf())));
        }
        if let Some(bytes) = bytes.strip_prefix(EMBED_TEXT) {
            let model = wire::read(bytes).and_then(wire::Model::spec);
            let engine = Arc::clone(&self.engine);
            let function =
                model.map(|model| EmbedText::new(SessionModel::of_spec(engine, model)).into_udf());
            return Some(function.map(Arc::new));
        }
        let bytes = bytes.strip_prefix(CALL)?;
        let call = wire::read(bytes).and_then(|call| wire::call(&self.engine, Some(call)));
        Some(call.map(|call| Arc::new(call.into_udf())))
    }
}

/// What the bytes of an operator, and of a call, begin with.
const INFER: &[u8] = b"picsift.infer.2:";
const CALL: &[u8] = b"picsift.call.2:";
const COALESCE: &[u8] = b"picsift.coalesce.1";
const SIMILARITY: &[u8] = b"picsift.similarity.1";
const EMBED_TEXT: &[u8] = b"picsift.embed_text.1:";

impl fmt::Debug for InferCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InferCodec").finish_non_exhaustive()
    }
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Writes a call that stands in an expression, what holds some, or what works on their answers; whether it was one.
///
/// # Errors
/// For a call with corrections, which stay in this process.
fn write_call(function: &ScalarUDF, bytes: &mut Vec<u8>) -> Result<bool> {
    if function.inner().downcast_ref::<Coalesce>().is_some() {
        bytes.extend_from_slice(COALESCE);
        return Ok(true);
    }
    if function.inner().downcast_ref::<Similarity>().is_some() {
        bytes.extend_from_slice(SIMILARITY);
        return Ok(true);
    }
    if let Some(embed_text) = function.inner().downcast_ref::<EmbedText>() {
        bytes.extend_from_slice(EMBED_TEXT);
        bytes.extend(wire::Model::from(embed_text.model().spec()).encode_to_vec());
        return Ok(true);
    }
    let Some(resolved) = function.inner().downcast_ref::<ResolvedFunction>() else {
        return Ok(false);
    };
    wire::check(&resolved.call)?;
    bytes.extend_from_slice(CALL);
    bytes.extend(wire::Call::from(&*resolved.call).encode_to_vec());
    Ok(true)
}

impl LogicalExtensionCodec for InferCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[LogicalPlan],
        context: &TaskContext,
    ) -> Result<Extension> {
        let Some(message) = bytes.strip_prefix(INFER) else {
            return self.logical.try_decode(bytes, inputs, context);
        };
        let message: wire::Infer = wire::read(message)?;
        let quota = Arc::new(message.quota()?);
        let expr = |bytes: &[u8]| -> Result<Expr> {
            parse_expr(&wire::read(bytes)?, context, self).map_err(external)
        };
        let groups = wire::groups(&self.engine, message.asks)?;
        let groups = groups
            .iter()
            .map(|group| group.map(|e| expr(e)))
            .collect::<Result<_>>()?;
        let predicates = message
            .predicates
            .iter()
            .map(|p| expr(p))
            .collect::<Result<_>>()?;
        let input = inputs.first().cloned();
        let input = input.ok_or_else(|| plan_datafusion_err!("Infer needs an input"))?;
        Ok(Extension {
            node: Arc::new(Infer::new(input, groups, predicates, quota)?),
        })
    }

    fn try_encode(&self, node: &Extension, bytes: &mut Vec<u8>) -> Result<()> {
        let Some(infer) = node.node.as_any().downcast_ref::<Infer>() else {
            return self.logical.try_encode(node, bytes);
        };
        let expr = |expr: &Expr| -> Result<Vec<u8>> {
            Ok(serialize_expr(expr, self)
                .map_err(external)?
                .encode_to_vec())
        };
        let groups = infer.groups.iter().map(|group| group.map(expr));
        let groups = groups.collect::<Result<Vec<_>>>()?;
        let predicates = infer.predicates.iter().map(expr).collect::<Result<_>>()?;
        bytes.extend_from_slice(INFER);
        bytes.extend(wire::Infer::new(&groups, predicates, &infer.quota)?.encode_to_vec());
        Ok(())
    }

    fn try_decode_table_provider(
        &self,
        bytes: &[u8],
        table: &TableReference,
        schema: SchemaRef,
        context: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        self.logical
            .try_decode_table_provider(bytes, table, schema, context)
    }

    fn try_encode_table_provider(
        &self,
        table: &TableReference,
        provider: Arc<dyn TableProvider>,
        bytes: &mut Vec<u8>,
    ) -> Result<()> {
        self.logical
            .try_encode_table_provider(table, provider, bytes)
    }

    fn try_decode_file_format(
        &self,
        bytes: &[u8],
        context: &TaskContext,
    ) -> Result<Arc<dyn FileFormatFactory>> {
        self.logical.try_decode_file_format(bytes, context)
    }

    fn try_encode_file_format(
        &self,
        bytes: &mut Vec<u8>,
        format: Arc<dyn FileFormatFactory>,
    ) -> Result<()> {
        self.logical.try_encode_file_format(bytes, format)
    }

    fn try_decode_udf(&self, name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
        self.function(bytes)
            .unwrap_or_else(|| self.logical.try_decode_udf(name, bytes))
    }

    fn try_encode_udf(&self, function: &ScalarUDF, bytes: &mut Vec<u8>) -> Result<()> {
        if write_call(function, bytes)? {
            return Ok(());
        }
        self.logical.try_encode_udf(function, bytes)
    }

    fn try_decode_higher_order_function(
        &self,
        name: &str,
        bytes: &[u8],
    ) -> Result<Arc<HigherOrderUDF>> {
        self.logical.try_decode_higher_order_function(name, bytes)
    }

    fn try_encode_higher_order_function(
        &self,
        function: &HigherOrderUDF,
        bytes: &mut Vec<u8>,
    ) -> Result<()> {
        self.logical
            .try_encode_higher_order_function(function, bytes)
    }

    fn try_decode_udaf(&self, name: &str, bytes: &[u8]) -> Result<Arc<AggregateUDF>> {
        self.logical.try_decode_udaf(name, bytes)
    }

    fn try_encode_udaf(&self, function: &AggregateUDF, bytes: &mut Vec<u8>) -> Result<()> {
        self.logical.try_encode_udaf(function, bytes)
    }

    fn try_decode_udwf(&self, name: &str, bytes: &[u8]) -> Result<Arc<WindowUDF>> {
        self.logical.try_decode_udwf(name, bytes)
    }

    fn try_encode_udwf(&self, function: &WindowUDF, bytes: &mut Vec<u8>) -> Result<()> {
        self.logical.try_encode_udwf(function, bytes)
    }
}

impl PhysicalExtensionCodec for InferCodec {
    fn try_decode_udf(&self, name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
        self.function(bytes)
            .unwrap_or_else(|| self.physical.try_decode_udf(name, bytes))
    }

    fn try_encode_udf(&self, function: &ScalarUDF, bytes: &mut Vec<u8>) -> Result<()> {
        if write_call(function, bytes)? {
            return Ok(());
        }
        self.physical.try_encode_udf(function, bytes)
    }

    fn try_decode_higher_order_function(
        &self,
        name: &str,
        bytes: &[u8],
    ) -> Result<Arc<HigherOrderUDF>> {
        self.physical.try_decode_higher_order_function(name, bytes)
    }

    fn try_encode_higher_order_function(
        &self,
        function: &HigherOrderUDF,
        bytes: &mut Vec<u8>,
    ) -> Result<()> {
        self.physical
            .try_encode_higher_order_function(function, bytes)
    }

    fn try_decode_expr(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn PhysicalExpr>],
        context: &PhysicalExprDecodeCtx<'_>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        self.physical.try_decode_expr(bytes, inputs, context)
    }

    fn try_encode_expr(
        &self,
        expr: &Arc<dyn PhysicalExpr>,
        bytes: &mut Vec<u8>,
        context: &PhysicalExprEncodeCtx<'_>,
    ) -> Result<()> {
        self.physical.try_encode_expr(expr, bytes, context)
    }

    fn try_decode_udaf(&self, name: &str, bytes: &[u8]) -> Result<Arc<AggregateUDF>> {
        self.physical.try_decode_udaf(name, bytes)
    }

    fn try_encode_udaf(&self, function: &AggregateUDF, bytes: &mut Vec<u8>) -> Result<()> {
        self.physical.try_encode_udaf(function, bytes)
    }

    fn try_decode_udwf(&self, name: &str, bytes: &[u8]) -> Result<Arc<WindowUDF>> {
        self.physical.try_decode_udwf(name, bytes)
    }

    fn try_encode_udwf(&self, function: &WindowUDF, bytes: &mut Vec<u8>) -> Result<()> {
        self.physical.try_encode_udwf(function, bytes)
    }

    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(message) = bytes.strip_prefix(INFER) else {
            return self.physical.try_decode(bytes, inputs, context, converter);
        };
        let message: wire::Infer = wire::read(message)?;
        let quota = Arc::new(message.quota()?);
        let input = inputs.first().cloned();
        let input = input.ok_or_else(|| plan_datafusion_err!("InferExec needs an input"))?;

        let groups = wire::groups(&self.engine, message.asks)?;
        let fields: Vec<_> = input
            .schema()
            .fields()
            .iter()
            .cloned()
            .chain(answer_fields(&groups))
            .collect();
        let schema = Schema::new(fields);
        let expr = |bytes: &[u8]| -> Result<Arc<dyn PhysicalExpr>> {
            parse_physical_expr(&wire::read(bytes)?, context, &schema, self)
        };
        let groups = groups
            .iter()
            .map(|group| group.map(|e| expr(e)))
            .collect::<Result<_>>()?;
        let predicates = message
            .predicates
            .iter()
            .map(|p| expr(p))
            .collect::<Result<_>>()?;
        let stats = context.session_config().get_extension::<RunStats>();
        Ok(Arc::new(InferExec::new(
            input,
            groups,
            predicates,
            Arc::clone(&self.engine),
            quota,
            stats.unwrap_or_default(),
        )?))
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        bytes: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let Some(infer) = node.downcast_ref::<InferExec>() else {
            return self.physical.try_encode(node, bytes, converter);
        };
        let expr = |expr: &Arc<dyn PhysicalExpr>| -> Result<Vec<u8>> {
            Ok(converter
                .physical_expr_to_proto(expr, self)?
                .encode_to_vec())
        };
        let groups = infer.groups().iter().map(|group| group.map(expr));
        let groups = groups.collect::<Result<Vec<_>>>()?;
        let predicates = infer.predicates().iter().map(expr).collect::<Result<_>>()?;
        bytes.extend_from_slice(INFER);
        bytes.extend(wire::Infer::new(&groups, predicates, infer.quota())?.encode_to_vec());
        Ok(())
    }
}
