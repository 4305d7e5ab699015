//! How many streams of one file a server takes.

/// As many as the client's budget gives, until the server takes fewer; then one more, each time that some
/// parts have come without a failure.
pub(super) struct Width {
    most: usize,
    steady: u32,
}

impl Width {
    /// So many parts without a failure speak for another stream. Of 16 MiB each: a server that takes one only
    /// refuses another one once in 128 MiB.
    const STEADY: u32 = 8;

    pub(super) fn now(&self) -> usize {
        self.most
    }

    /// A part has come.
    pub(super) fn went_well(&mut self) {
        self.steady += 1;
        if self.steady >= Self::STEADY {
            self.most = self.most.saturating_add(1);
            self.steady = 0;
        }
    }

    /// One was in vain that was more than `others`.
    pub(super) fn is_too_much(&mut self, others: usize) {
        self.most = self.most.min(others.max(1));
        self.steady = 0;
    }
}

impl Default for Width {
    fn default() -> Self {
        Self { most: usize::MAX, steady: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One is left, and more are tried when that one has shown that it gets on.
    #[test]
    fn streams_are_given_up_and_tried_again() {
        let mut width = Width::default();
        width.went_well();
        assert!(width.now() > 100);
        for others in (0..14).rev() {
            width.is_too_much(others);
        }
        assert_eq!(width.now(), 1);
        for _ in 0..Width::STEADY {
            assert_eq!(width.now(), 1);
            width.went_well();
        }
        assert_eq!(width.now(), 2);
    }
}
