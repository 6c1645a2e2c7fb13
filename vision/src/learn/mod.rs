//! Learning a category from examples: logistic regression over embeddings, how strong its penalty is, and what its scores mean.
//!
//! Owns arithmetic alone: [`Examples`] are vectors, [`Labels`] what is true of each, [`validate`] finds the strength by stratified
//! cross-validation and keeps what each example's score is when it took no part, [`Platt`] makes probabilities of such scores. It knows
//! neither models nor files nor tables, and judges nothing: figures are whoever asks' to make.
//!
//! The objective is scikit-learn's: the sum of weight times log loss plus half the squared length of the weights over `C`, the
//! intercept free. Weights are brought to a mean of 1 first, so that a sample that stands for a million rows is no surer than its size.
//! The problems of all categories, folds and strengths go through the examples together (`logistic`), which is why the minimiser
//! (`lbfgs`) is one that is asked and told; libraries of minimisers call the function themselves, once for each problem.

mod examples;
mod folds;
mod lbfgs;
mod logistic;
mod metric;
mod one;
mod pass;
mod platt;
mod problem;
mod validate;

pub use examples::Examples;
pub use folds::{Dealt, FOLDS, Key, PARTS, deal, keys};
pub use logistic::fit;
pub use one::{FEWEST, calibrated, known, teach_one};
pub use pass::logits;
pub use platt::Platt;
pub use problem::{Labels, Linear, Problem};
pub use validate::{Lesson, Validated, all_fit, curve, final_fit, strengths, validate};
