//! The whole way of a vision-language model, SQL or flags to prompt, tokens, answer and value, on answers that mean
//! something: the model `shapes` sees drawn pictures of which everything is known.
//!
//! What the model says is held to shares, never to single answers: a retrained model may err elsewhere. What picsift makes
//! of an answer is held exactly.

mod asked;
mod loaded;
mod pictures;
mod refused;
mod table;
