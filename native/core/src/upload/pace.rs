//! How many files one commit of a large folder takes.

use std::time::Duration;

/// The steps, as `huggingface_hub` has them.
const STEPS: [usize; 10] = [20, 50, 75, 100, 125, 200, 250, 400, 600, 1000];
/// A commit that takes longer than this is in danger of being cut off by the Hub.
const TARGET: Duration = Duration::from_secs(40);

/// Content that regular files may bring into one commit, in bytes.
pub(super) const CARRIED: u64 = 100 << 20;

/// The size of the next commit: larger after fast ones, smaller after slow ones.
#[derive(Debug)]
pub(super) struct CommitPace(usize);

impl Default for CommitPace {
    fn default() -> Self {
        Self(6)
    }
}

impl CommitPace {
    /// Files of the next commit.
    pub(super) fn files(&self) -> usize {
        STEPS[self.0]
    }

    /// A commit of `files` has taken this long.
    pub(super) fn took(&mut self, files: usize, time: Duration) {
        if time > TARGET {
            self.0 = self.0.saturating_sub(1);
        } else if files >= self.files() {
            self.0 = (self.0 + 1).min(STEPS.len() - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first commit has 250 files; fast ones grow to 1,000, slow ones shrink to 20.
    #[test]
    fn commits_grow_and_shrink() {
        let mut pace = CommitPace::default();
        assert_eq!(pace.files(), 250);
        pace.took(10, Duration::ZERO);
        assert_eq!(pace.files(), 250);
        for _ in 0..9 {
            pace.took(1000, Duration::ZERO);
        }
        assert_eq!(pace.files(), 1000);
        for _ in 0..20 {
            pace.took(1000, TARGET * 2);
        }
        assert_eq!(pace.files(), 20);
    }
}
