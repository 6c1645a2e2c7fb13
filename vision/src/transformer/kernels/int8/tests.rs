use candle_core::Device;

use super::super::Steps;
use super::*;

fn matrix(rows: usize, columns: usize, seed: u32) -> Tensor {
    let values: Vec<f32> = (0..rows * columns)
        .map(|at| {
            ((at as u32 + seed).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect();
    Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
}

/// What of this machine multiplies weights of 8 bits.
fn units() -> impl Iterator<Item = Units> {
    let tested = Units::tested().into_iter();
    tested.filter(|units| *units != Units::Plain)
}

/// What rounding to 8 bits explains: each of the products is off by up to half a step of either factor.
fn tolerance(inputs: usize) -> f32 {
    (inputs as f32).sqrt() / 127.0 * 2.0
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
    let difference = (a - b).unwrap().abs().unwrap();
    difference.max_all().unwrap().to_scalar().unwrap()
}

#[test]
fn agrees_with_the_product_in_f32() {
    // Widths that are no whole number of panels or blocks, rows that are no whole number of tiles, inputs that are taken in parts.
    for (rows, inputs, outputs) in [
        (1, 32, 32),
        (2, 2048, 300),
        (4, 588, 300),
        (5, 64, 16),
        (7, 100, 33),
        (13, 256, 96),
        (16, 33, 17),
        (17, 588, 300),
        (33, 4352, 70),
        (65, 2080, 1056),
        (40, 4128, 2080),
        (730, 96, 70),
    ] {
        let (x, weight) = (matrix(rows, inputs, 1), matrix(outputs, inputs, 7));
        let theirs = x.matmul(&weight.t().unwrap()).unwrap();
        for units in units() {
            let quantised = Int8::new(&weight, units).unwrap().unwrap();
            let ours = quantised.product(&x, None).unwrap();
            let largest = largest_difference(&ours, &theirs);
            assert!(
                largest < tolerance(inputs),
                "{units}: {rows} x {inputs} x {outputs}: {largest}"
            );
        }
    }
}

/// What a row gets does not hang on how many others there are: sums are the same numbers' at most in another order.
#[test]
fn a_row_alone_is_what_it_is_among_others() {
    let (x, weight) = (matrix(70, 2112, 1), matrix(96, 2112, 7));
    for units in units() {
        let quantised = Int8::new(&weight, units).unwrap().unwrap();
        let together = quantised.product(&x, None).unwrap();
        for count in [1, 2, 3, 4, 7, 24, 25, 40, 64] {
            // On tiles, those few are brought into blocks, and no others.
            let allowed = match units == Units::Amx && count <= tiles::FEW {
                true => tolerance(2112),
                false => 2e-4,
            };
            let alone = quantised
                .product(&x.narrow(0, 3, count).unwrap(), None)
                .unwrap();
            let largest = largest_difference(&alone, &together.narrow(0, 3, count).unwrap());
            assert!(largest < allowed, "{units}: {count} rows: {largest}");
        }
    }
}

#[test]
fn a_row_with_a_nan_has_no_numbers_and_spoils_no_other() {
    for units in units() {
        let quantised = Int8::new(&matrix(8, 64, 3), units).unwrap().unwrap();
        for count in [3, 40] {
            let mut values = matrix(count, 64, 5).to_vec2::<f32>().unwrap();
            values[1][9] = f32::NAN;
            let x = Tensor::new(values, &Device::Cpu).unwrap();
            let rows = quantised
                .product(&x, None)
                .unwrap()
                .to_vec2::<f32>()
                .unwrap();
            for (index, row) in rows.iter().enumerate() {
                match index {
                    1 => assert!(row.iter().all(|value| value.is_nan()), "{units}"),
                    _ => assert!(row.iter().all(|value| value.is_finite()), "{units}"),
                }
            }
        }
    }
}

#[test]
fn what_follows_is_what_it_is_by_itself() {
    // Whole panels and parts of them, few rows and many, a last tile of each count of rows.
    for (rows, inputs, outputs) in [(1, 64, 33), (3, 96, 300), (5, 588, 47), (730, 64, 96)] {
        let (x, weight) = (matrix(rows, inputs, 1), matrix(outputs, inputs, 7));
        let (bias, through) = (matrix(1, outputs, 3), matrix(rows, outputs, 5));
        let bias = bias.squeeze(0).unwrap();
        for units in units() {
            let quantised = Int8::new(&weight, units).unwrap().unwrap();
            let product = quantised.product(&x, None).unwrap();
            for after in [
                After::Bias(&bias),
                After::Gelu(&bias),
                After::Sum(&through, None),
                After::Sum(&through, Some(&bias)),
            ] {
                let ours = quantised.product(&x, Some(after)).unwrap();
                let theirs = after.apart(Steps::Plain, product.clone()).unwrap();
                let largest = largest_difference(&ours, &theirs);
                // Sums of three are rounded in another order.
                let size = theirs.abs().unwrap().max_all().unwrap();
                let size = size.to_scalar::<f32>().unwrap();
                assert!(
                    largest < 1e-6 * (1.0 + size),
                    "{units}: {rows} x {inputs} x {outputs} {after:?}: {largest}"
                );
            }
        }
    }
}

#[test]
fn what_follows_a_product_of_another_shape_is_refused() {
    let (x, weight) = (matrix(3, 64, 1), matrix(40, 64, 7));
    for units in units() {
        let quantised = Int8::new(&weight, units).unwrap().unwrap();
        let (bias, through) = (matrix(1, 41, 3).squeeze(0).unwrap(), matrix(4, 40, 5));
        for after in [After::Gelu(&bias), After::Sum(&through, None)] {
            let error = quantised.product(&x, Some(after)).unwrap_err().to_string();
            assert!(error.contains("does not fit"), "{error}");
        }
    }
}
