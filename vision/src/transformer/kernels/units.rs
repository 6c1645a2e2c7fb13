//! Which of a CPU's units compute: products with weights of 8 bits, attention beside them, and the steps between.
//!
//! What is taken is the best that the machine has, found once; a test or a bench can ask for less, so that one machine shows what others do.

use std::sync::OnceLock;

use pulp::Arch;

#[cfg(target_arch = "x86_64")]
use super::amx;

/// What computes, from what every machine has to what few have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Units {
    /// What the tensor library has for the machine.
    Plain,
    /// Vectors of 256 bits: AVX2 with FMA and F16C.
    Avx2,
    /// Vectors of 512 bits with products of bytes: AVX-512 VNNI, with BF16 for attention where it is there.
    Avx512,
    /// Tiles: AMX BF16, beside AVX-512 with BF16.
    Amx,
}

impl Units {
    /// All, the plainest first.
    const ALL: [Self; 4] = [Self::Plain, Self::Avx2, Self::Avx512, Self::Amx];

    /// The best of this machine.
    pub fn best() -> Self {
        static BEST: OnceLock<Units> = OnceLock::new();
        *BEST.get_or_init(|| Self::of_this_machine().last().unwrap_or(Self::Plain))
    }

    /// Those of this machine, the plainest first.
    pub fn of_this_machine() -> impl DoubleEndedIterator<Item = Self> {
        Self::ALL.into_iter().filter(|units| units.there())
    }

    /// Those that tests compute on, the plainest first: the machine's, and tiles wherever all that they need beside themselves is there.
    /// Says which are left out.
    #[cfg(test)]
    pub(crate) fn tested() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        let emulated = Self::Avx512.there() && Self::with_bf16();
        #[cfg(not(target_arch = "x86_64"))]
        let emulated = false;
        let (tested, left): (Vec<_>, Vec<_>) = Self::ALL
            .into_iter()
            .partition(|&units| units.there() || (units == Self::Amx && emulated));
        static SAID: std::sync::Once = std::sync::Once::new();
        SAID.call_once(|| {
            for units in left {
                println!("{units}: left out, this machine has no such units");
            }
            if tested.contains(&Self::Amx) && !Self::Amx.there() {
                println!("amx: computed by a program, this machine has no such units");
            }
        });
        tested
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn there(self) -> bool {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        let avx512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni");
        match self {
            Self::Plain => true,
            Self::Avx2 => avx2,
            Self::Avx512 => avx2 && avx512,
            Self::Amx => avx2 && avx512 && Self::with_bf16() && amx::available(),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn there(self) -> bool {
        self == Self::Plain
    }

    /// Whether the machine multiplies vectors of bf16.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn with_bf16() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bf16")
    }

    /// What steps are compiled for.
    pub(super) fn arch(self) -> Arch {
        #[cfg(target_arch = "x86_64")]
        if let (Self::Avx2, Some(vectors)) = (self, pulp::x86::V3::try_new()) {
            return Arch::V3(vectors);
        }
        Arch::new()
    }
}

impl std::fmt::Display for Units {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
