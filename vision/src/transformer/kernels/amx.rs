//! Products of bf16 on the tiles of AMX, summed in f32.
//!
//! A tile is 16 rows of 64 bytes. Of a left matrix it holds 16 rows of 32 numbers, of a right one 16 pairs of rows of 16 columns: pair `p` of
//! column `c` lies at row `p` as the 32 bits of `c`, the first of the pair in the low half. [`Tiles::multiply`] keeps four tiles of sums,
//! 32 rows by 32 columns, and reads each number of either side once.
//!
//! The instructions are written out because the compiler has no stable functions for them. It has no other use for the tiles, so what one
//! statement leaves in them is there for the next. Tests on a machine without them have a program in their place.

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::sync::OnceLock;

/// Rows and columns of sums of one multiplication.
pub(super) const SIDE: usize = 32;

/// Bytes of a tile.
pub(super) const TILE: usize = 1024;

/// Whether this machine has the instructions, and the system lets this process use them.
pub(super) fn available() -> bool {
    static GRANTED: OnceLock<bool> = OnceLock::new();
    *GRANTED.get_or_init(|| described() && granted())
}

/// What the CPU says of itself: AMX-TILE and AMX-BF16.
fn described() -> bool {
    let highest = __cpuid_count(0, 0).eax;
    highest >= 7 && __cpuid_count(7, 0).edx & (1 << 22 | 1 << 24) == (1 << 22 | 1 << 24)
}

/// Asks Linux for the room in which it keeps the tiles of a thread that does not run.
#[cfg(target_os = "linux")]
fn granted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    // SAFETY: it takes numbers and changes what this process may do, nothing else.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 }
}

/// Other systems are not asked.
#[cfg(not(target_os = "linux"))]
fn granted() -> bool {
    false
}

/// How the tiles are to be cut: eight of 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start: u8,
    reserved: [u8; 14],
    columns: [u16; 16],
    rows: [u8; 16],
}

static WHOLE: Configuration = Configuration {
    palette: 1,
    start: 0,
    reserved: [0; 14],
    columns: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// The tiles of this thread, in use as long as it lives.
pub(super) struct Tiles {
    _of_this_thread: std::marker::PhantomData<*const ()>,
}

/// Where a matrix of 32 rows, or of 32 columns, lies; in bytes.
#[derive(Clone, Copy)]
pub(super) struct Side {
    /// The first row of both halves.
    pub(super) halves: [*const u8; 2],
    /// From one row of a tile to the next.
    pub(super) row: usize,
    /// From one tile to the next.
    pub(super) step: usize,
}

impl Tiles {
    /// Takes the tiles into use.
    ///
    /// # Safety
    /// [`available`].
    pub(super) unsafe fn new() -> Self {
        #[cfg(test)]
        if !available() {
            return Self {
                _of_this_thread: std::marker::PhantomData,
            };
        }
        // SAFETY: the configuration is 64 bytes that the instruction takes.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const WHOLE, options(nostack, preserves_flags))
        };
        Self {
            _of_this_thread: std::marker::PhantomData,
        }
    }

    /// `sums = left right`, plus what they were if `add`: 32 rows by 32 columns from `steps` tiles of either half.
    ///
    /// # Safety
    /// So many tiles can be read at both sides, and rows of 32 numbers, `sums_row` bytes apart, written at `sums`.
    #[inline(always)]
    pub(super) unsafe fn multiply(
        &mut self,
        left: Side,
        right: Side,
        steps: usize,
        sums: *mut f32,
        sums_row: usize,
        add: bool,
    ) {
        #[cfg(test)]
        if !available() {
            // SAFETY: as this function's.
            unsafe { emulated(left, right, steps, sums, sums_row, add) };
            return;
        }
        let lower = sums.wrapping_byte_add(16 * sums_row);
        // SAFETY: what is read and written is the caller's word.
        unsafe {
            if add {
                asm!(
                    "tileloadd tmm0, [{upper} + {row}]",
                    "tileloadd tmm1, [{upper} + {row} + 64]",
                    "tileloadd tmm2, [{lower} + {row}]",
                    "tileloadd tmm3, [{lower} + {row} + 64]",
                    upper = in(reg) sums, lower = in(reg) lower, row = in(reg) sums_row,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    options(nostack, preserves_flags, readonly),
                );
            } else {
                asm!(
                    "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    options(nostack, preserves_flags),
                );
            }
            asm!(
                "2:",
                "tileloadd tmm4, [{a0} + {a_row}]",
                "tileloadd tmm6, [{b0} + {b_row}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{b1} + {b_row}]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{a1} + {a_row}]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {a0}, {a_step}",
                "add {a1}, {a_step}",
                "add {b0}, {b_step}",
                "add {b1}, {b_step}",
                "dec {steps}",
                "jnz 2b",
                a0 = inout(reg) left.halves[0] => _, a1 = inout(reg) left.halves[1] => _,
                b0 = inout(reg) right.halves[0] => _, b1 = inout(reg) right.halves[1] => _,
                a_row = in(reg) left.row, b_row = in(reg) right.row,
                a_step = in(reg) left.step, b_step = in(reg) right.step,
                steps = inout(reg) steps => _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, readonly),
            );
            asm!(
                "tilestored [{upper} + {row}], tmm0",
                "tilestored [{upper} + {row} + 64], tmm1",
                "tilestored [{lower} + {row}], tmm2",
                "tilestored [{lower} + {row} + 64], tmm3",
                upper = in(reg) sums, lower = in(reg) lower, row = in(reg) sums_row,
                options(nostack, preserves_flags),
            );
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        #[cfg(test)]
        if !available() {
            return;
        }
        // SAFETY: they were taken into use by this thread, for the type cannot leave it.
        unsafe { asm!("tilerelease", options(nostack, preserves_flags)) };
    }
}

/// What [`Tiles::multiply`] computes, number by number.
///
/// # Safety
/// As its.
#[cfg(test)]
unsafe fn emulated(
    left: Side,
    right: Side,
    steps: usize,
    sums: *mut f32,
    sums_row: usize,
    add: bool,
) {
    const HALF: usize = SIDE / 2;
    for place in 0..2 * SIDE {
        let (row, half) = (place / 2, place % 2);
        let at = sums.wrapping_byte_add(row * sums_row + half * HALF * 4);
        // SAFETY: these are the bytes that the instructions load and store.
        unsafe {
            let mut sum = match add {
                true => at.cast::<[f32; HALF]>().read_unaligned(),
                false => [0.0; HALF],
            };
            for step in 0..steps {
                let a = left.halves[row / HALF].add(row % HALF * left.row + step * left.step);
                let a = a.cast::<[u32; HALF]>().read_unaligned();
                for (pair, a) in a.into_iter().enumerate() {
                    let b = right.halves[half].add(step * right.step + pair * right.row);
                    let b = b.cast::<[u32; HALF]>().read_unaligned();
                    for (sum, b) in sum.iter_mut().zip(b) {
                        *sum += f32::from_bits(a << 16) * f32::from_bits(b << 16);
                        *sum += f32::from_bits(a & 0xffff_0000) * f32::from_bits(b & 0xffff_0000);
                    }
                }
            }
            at.cast::<[f32; HALF]>().write_unaligned(sum);
        }
    }
}
