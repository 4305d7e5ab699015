//! The machine's limits on a process.

/// How many files, sockets included, this process may have open (`ulimit -n`).
pub(crate) fn open_files() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for writing.
    let asked = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if asked == 0 { limit.rlim_cur } else { u64::MAX }
}
