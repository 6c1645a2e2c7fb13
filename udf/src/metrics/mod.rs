//! How good answers are, given the truth: the formulas, and how sure their figures are.
//!
//! Pure arithmetic over counts and scores. It knows neither SQL nor tables, so that the SQL aggregates and an evaluation cannot
//! come to different figures. A figure that is not defined (a ratio over nothing, a ranking of one class) is `None`,
//! never a stand-in. The definitions are scikit-learn's (1.9), except that it gives 0 where a ratio is over nothing.

mod bootstrap;
mod calibration;
mod confusion;
mod interval;
mod ranking;

pub use bootstrap::{Cell, CellBuilder, REPLICATES, Replicate, percentiles, replicates};
pub use calibration::{CALIBRATION_BINS, Calibration};
pub use confusion::Confusion;
pub use interval::{Interval, wilson};
pub use ranking::{Ranking, Tie};
