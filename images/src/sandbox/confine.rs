//! What a process that decodes gives up before it sees a picture, so that a picture which takes it over has nothing.
//!
//! Everywhere: files, its descriptors, core dumps, other processes, and memory and time beyond a bound. On Linux also every call of the system
//! but those that decoding needs, new privileges, and its life when the one that started it ends.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Confinement;
use crate::limits::Limits;

/// Seconds of processor time in a life; a pool starts a new process long before.
pub(super) const LIFE_SECONDS: u64 = 600;

/// Bytes beyond what pictures may take: what the allocator keeps and small change.
const SLACK: u64 = 192 << 20;

/// Descriptors that are looked at where the system cannot close all at once.
const MOST_DESCRIPTORS: u64 = 65_536;

/// Closes what this process has from the one that started it, but for standard input, output and error.
pub(super) fn close_others() {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: it reads no memory. This runs before anything in the process has opened a descriptor, so that no owner is robbed.
        let closed = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
        if closed == 0 {
            return;
        }
    }
    let most = getrlimit(Resource::Nofile).current;
    let most = most.unwrap_or(MOST_DESCRIPTORS).min(MOST_DESCRIPTORS);
    for descriptor in 3..most as i32 {
        // SAFETY: as above; of a number that is no open descriptor it is an error without effect.
        unsafe { libc::close(descriptor) };
    }
}

/// Gives everything else up. `parent` is the process that this one works for.
///
/// # Errors
/// When a bound cannot be set, or the one that it works for is gone: it must not go on then.
pub(super) fn confine(limits: &Limits, parent: u32) -> io::Result<Confinement> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // It may have ended before the line above.
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get() as u32);
    if now != Some(parent) {
        return Err(io::Error::other("nobody waits for it"));
    }
    let memory = limits
        .max_memory
        .saturating_add(limits.max_bytes.saturating_mul(2))
        .saturating_add(SLACK);
    let taken = address_space();
    bound(Resource::Core, 0)?;
    bound(Resource::Fsize, 0)?;
    bound(Resource::Nofile, 0)?;
    bound(
        Resource::Cpu,
        2 * LIFE_SECONDS + limits.timeout.as_secs().saturating_mul(2),
    )?;
    bound(Resource::Nproc, 0)?;
    bound(Resource::As, taken.saturating_add(memory))?;
    Ok(calls())
}

fn bound(resource: Resource, most: u64) -> io::Result<()> {
    // Never above what it was given.
    let given = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let most = Some(most.min(given));
    Ok(setrlimit(
        resource,
        Rlimit {
            current: most,
            maximum: most,
        },
    )?)
}

/// Bytes of addresses that the process has already: its program, above all.
fn address_space() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let size = size.and_then(|size| size.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    size.unwrap_or(0) * 1024
}

#[cfg(not(target_os = "linux"))]
fn calls() -> Confinement {
    Confinement::LimitsAlone
}

/// Gives up all calls of the system but those that decoding needs: reading and writing what is open, memory that holds no
/// program, clocks, locks, and its own end. Others fail; the filter cannot be taken off again.
#[cfg(target_os = "linux")]
fn calls() -> Confinement {
    match filter().and_then(|filter| seccompiler::apply_filter(&filter).ok()) {
        Some(()) => Confinement::SystemCalls,
        None => Confinement::LimitsAlone,
    }
}

#[cfg(target_os = "linux")]
fn filter() -> Option<seccompiler::BpfProgram> {
    use seccompiler::{
        SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule, TargetArch,
    };

    let free = [
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_brk,
        libc::SYS_futex,
        libc::SYS_sched_yield,
        libc::SYS_clock_gettime,
        libc::SYS_getrandom,
        libc::SYS_rt_sigreturn,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_sigaltstack,
        libc::SYS_restart_syscall,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];
    let when = |argument: u8, operator: SeccompCmpOp, value: u64| {
        let condition =
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value).ok()?;
        Some(vec![SeccompRule::new(vec![condition]).ok()?])
    };
    let no_program = SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64);
    let mut rules: std::collections::BTreeMap<i64, Vec<SeccompRule>> =
        free.into_iter().map(|call| (call, Vec::new())).collect();
    rules.insert(libc::SYS_mmap, when(2, no_program.clone(), 0)?);
    rules.insert(libc::SYS_mprotect, when(2, no_program, 0)?);
    // To end itself after a failed allocation.
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, when(0, SeccompCmpOp::Eq, own)?);
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Errno(libc::EPERM as u32),
        SeccompAction::Allow,
        TargetArch::try_from(std::env::consts::ARCH).ok()?,
    );
    filter.ok()?.try_into().ok()
}
