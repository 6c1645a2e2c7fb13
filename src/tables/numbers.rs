//! The number type that holds the values of two types of numbers exactly.

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType};

/// Bits of a whole number's type, and whether it has a sign.
fn whole(data_type: &DataType) -> Option<(u8, bool)> {
    Some(match data_type {
        DataType::Int8 => (8, true),
        DataType::Int16 => (16, true),
        DataType::Int32 => (32, true),
        DataType::Int64 => (64, true),
        DataType::UInt8 => (8, false),
        DataType::UInt16 => (16, false),
        DataType::UInt32 => (32, false),
        DataType::UInt64 => (64, false),
        _ => return None,
    })
}

/// Bits of a whole number that a float holds exactly, as many as a type of whole numbers has.
fn exact(data_type: &DataType) -> Option<u8> {
    Some(match data_type {
        DataType::Float16 => 8,
        DataType::Float32 => 16,
        DataType::Float64 => 32,
        _ => return None,
    })
}

fn float(bits: u8) -> Option<DataType> {
    Some(match bits {
        ..=8 => DataType::Float16,
        9..=16 => DataType::Float32,
        17..=32 => DataType::Float64,
        _ => return None,
    })
}

/// The number type that holds the values of both exactly; `None` for what is no number, and where there is none.
pub(super) fn numbers(a: &DataType, b: &DataType) -> Option<DataType> {
    match (whole(a), whole(b)) {
        (Some((a, true)), Some((b, true))) => return Some(signed(a.max(b))),
        (Some((a, false)), Some((b, false))) => return Some(unsigned(a.max(b))),
        (Some((signed_bits, true)), Some((bits, false)))
        | (Some((bits, false)), Some((signed_bits, true))) => {
            return (bits < 64).then(|| signed(signed_bits.max(bits * 2)));
        }
        _ => {}
    }
    match (exact(a), exact(b)) {
        (Some(a), Some(b)) => return float(a.max(b)),
        (Some(exact), None) => return float(exact.max(whole(b)?.0)),
        (None, Some(exact)) => return float(exact.max(whole(a)?.0)),
        (None, None) => {}
    }
    decimals(digits(a)?, digits(b)?)
}

fn signed(bits: u8) -> DataType {
    match bits {
        8 => DataType::Int8,
        16 => DataType::Int16,
        32 => DataType::Int32,
        _ => DataType::Int64,
    }
}

fn unsigned(bits: u8) -> DataType {
    match bits {
        8 => DataType::UInt8,
        16 => DataType::UInt16,
        32 => DataType::UInt32,
        _ => DataType::UInt64,
    }
}

/// Digits before and behind the point.
fn digits(data_type: &DataType) -> Option<(i16, i16)> {
    match data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            let scale = i16::from(*scale);
            Some((i16::from(*precision) - scale, scale))
        }
        other => match whole(other)?.0 {
            8 => Some((3, 0)),
            16 => Some((5, 0)),
            32 => Some((10, 0)),
            _ => Some((20, 0)),
        },
    }
}

fn decimals(a: (i16, i16), b: (i16, i16)) -> Option<DataType> {
    let (before, scale) = (a.0.max(b.0), a.1.max(b.1));
    let precision = u8::try_from(before + scale).ok()?;
    let scale = i8::try_from(scale).ok()?;
    if precision <= DECIMAL128_MAX_PRECISION {
        Some(DataType::Decimal128(precision, scale))
    } else {
        (precision <= DECIMAL256_MAX_PRECISION).then_some(DataType::Decimal256(precision, scale))
    }
}

#[cfg(test)]
mod tests {
    use DataType::*;

    use super::*;

    #[test]
    fn numbers_grow_until_they_hold_both() {
        for (a, b, both) in [
            (Int32, Int64, Some(Int64)),
            (UInt8, UInt32, Some(UInt32)),
            (UInt32, Int8, Some(Int64)),
            (UInt8, Int64, Some(Int64)),
            (UInt64, Int64, None),
            (Float32, Float64, Some(Float64)),
            (Int16, Float32, Some(Float32)),
            (Int32, Float32, Some(Float64)),
            // A float of 64 bits has 53 for a whole number.
            (Int64, Float64, None),
            (
                Decimal128(10, 2),
                Decimal128(12, 4),
                Some(Decimal128(12, 4)),
            ),
            (
                Decimal128(10, 2),
                Decimal128(10, 4),
                Some(Decimal128(12, 4)),
            ),
            (
                Decimal128(38, 2),
                Decimal128(38, 4),
                Some(Decimal256(40, 4)),
            ),
            (Decimal32(5, 1), Int32, Some(Decimal128(11, 1))),
            (Decimal128(10, 2), Float64, None),
            (Int32, Utf8, None),
            (Boolean, Int8, None),
        ] {
            assert_eq!(numbers(&b, &a), both, "{b} and {a}");
            assert_eq!(numbers(&a, &b), both, "{a} and {b}");
        }
    }
}
