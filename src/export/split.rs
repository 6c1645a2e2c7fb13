//! Which split a picture belongs to: by its bytes, so that the same picture, under whatever name, always goes the same way, and
//! rows that come later move none. And by which lot rows are drawn where not all are kept.

use sha2::{Digest, Sha256};

/// Names of splits and their shares, which add up to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Splits(Vec<(String, f64)>);

impl Splits {
    /// Of a text such as `train=0.8,test=0.2`.
    ///
    /// # Errors
    /// In words, for another form, a share that is none, a name that stands twice, or shares that do not add up to 1.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut splits: Vec<(String, f64)> = Vec::new();
        for part in text.split(',') {
            let (name, share) = part
                .split_once('=')
                .ok_or_else(|| format!("'{part}' is not of the form train=0.8"))?;
            let name = name.trim();
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(plain) {
                return Err(format!(
                    "the split '{name}' must have letters, digits and _ alone"
                ));
            }
            let share: f64 = share.trim().parse().unwrap_or(f64::NAN);
            if !(share > 0.0 && share <= 1.0) {
                return Err(format!(
                    "the share of '{name}' must be above 0 and at most 1"
                ));
            }
            if splits.iter().any(|(known, _)| known == name) {
                return Err(format!("the split '{name}' stands twice"));
            }
            splits.push((name.to_string(), share));
        }
        let sum: f64 = splits.iter().map(|(_, share)| share).sum();
        match (sum - 1.0).abs() < 1e-6 {
            true => Ok(Self(splits)),
            false => Err(format!("the shares add up to {sum}, not to 1")),
        }
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The number of the split of a picture with this SHA-256.
    pub fn of(&self, digest: &[u8; 32], seed: u64) -> usize {
        let at = unit(b"split", digest, seed);
        let mut end = 0.0;
        for (index, (_, share)) in self.0.iter().enumerate() {
            end += share;
            if at < end {
                return index;
            }
        }
        self.0.len() - 1
    }
}

/// A number that looks random, by which rows are drawn: those with the lowest.
pub fn order(place: u64, seed: u64) -> u64 {
    (unit(b"order", &place.to_le_bytes(), seed) * (1_u64 << 53) as f64) as u64
}

/// A number from 0 to below 1 that looks random.
fn unit(purpose: &[u8], of: &[u8], seed: u64) -> f64 {
    let mut hash = Sha256::new();
    hash.update(purpose);
    hash.update(seed.to_le_bytes());
    hash.update(of);
    let hash = hash.finalize();
    let first = hash
        .iter()
        .take(8)
        .fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    // 53 bits are what a double holds.
    (first >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u64) -> [u8; 32] {
        Sha256::digest(number.to_le_bytes()).into()
    }

    #[test]
    fn shares_are_kept_and_a_picture_goes_one_way() {
        let splits = Splits::parse("train=0.8, validation=0.1,test=0.1").unwrap();
        assert_eq!(
            splits.names().collect::<Vec<_>>(),
            ["train", "validation", "test"]
        );
        let mut counts = [0; 3];
        for number in 0..20_000 {
            let split = splits.of(&digest(number), 7);
            counts[split] += 1;
            assert_eq!(split, splits.of(&digest(number), 7));
        }
        // Four standard deviations of a binomial number.
        for (count, share) in counts.iter().zip([0.8, 0.1, 0.1]) {
            let (mean, deviation) = (
                20_000.0 * share,
                f64::sqrt(20_000.0 * share * (1.0 - share)),
            );
            assert!(
                (f64::from(*count) - mean).abs() < 4.0 * deviation,
                "{counts:?}"
            );
        }
        let moved = (0..1000).filter(|n| splits.of(&digest(*n), 7) != splits.of(&digest(*n), 8));
        assert!(moved.count() > 100);
    }

    #[test]
    fn what_is_no_split_is_said() {
        for (text, part) in [
            ("train", "not of the form"),
            ("train=0.8,test=0.3", "add up to 1.1"),
            ("train=0.5,train=0.5", "twice"),
            ("../x=1", "letters"),
            ("train=2", "above 0"),
        ] {
            let error = Splits::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
