//! From calls in a query to one node that asks: what a call means, which folder its references are of, and where in the plan it is asked.
//!
//! `resolve` runs while a query is analysed, `extract` after the optimizer's own rules; what runs the plan is not known here.

pub(crate) mod annotate;
pub(crate) mod call;
pub(crate) mod conditional;
pub(crate) mod constants;
pub(crate) mod correlated;
pub(crate) mod embedded;
pub(crate) mod embeddings;
pub(crate) mod extract;
pub(crate) mod grouping;
pub(crate) mod inference_group;
pub(crate) mod lineage;
pub(crate) mod node;
pub(crate) mod resolve;
mod unknown;
