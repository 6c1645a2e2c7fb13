//! Each step of the network against its definition in f64.

use picsift_vision::ComputeDtype;
use picsift_vision::transformer::conformance;
use serde_json::json;

use super::{Outcome, Run};

pub(super) fn run(run: &mut Run) -> Outcome {
    for dtype in [ComputeDtype::F32, ComputeDtype::Bf16] {
        let format = run.format_of(dtype);
        for found in conformance::deviations(&format)? {
            let worst = match found.worst.is_finite() {
                true => json!(found.worst),
                false => json!("NaN"),
            };
            run.say(
                "step",
                found.holds(),
                json!({ "step": found.step, "shape": found.shape, "dtype": dtype.name(), "worst": worst,
                        "allowed": found.allowed }),
            );
        }
    }
    Ok(())
}
