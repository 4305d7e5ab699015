//! What the CAS has refused to one call, though the Hub has given it the rights. Those are of a repo, and say
//! nothing of others; so this isn't remembered of the host, as its [`outages`](super::outages) are.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::LEFT_ALONE;
use super::outages::tell_of_xet;
use crate::model::error::{Error, Result};

/// So many refusals in a row aren't for what was asked.
const SEVERAL: u32 = 3;

/// The refusals of one call's questions.
#[derive(Default)]
pub(super) struct Refusals(Mutex<Row>);

/// How many there were in a row, and when the last of several.
#[derive(Default)]
struct Row {
    count: u32,
    last: Option<(Instant, Error)>,
}

impl Refusals {
    /// Fails if one question after the other was refused a short while ago.
    pub(super) fn check(&self) -> Result<()> {
        match &self.row().last {
            Some((at, why)) if at.elapsed() < LEFT_ALONE => Err(why.clone()),
            _ => Ok(()),
        }
    }

    /// A question was answered.
    pub(super) fn answered(&self) {
        *self.row() = Row::default();
    }

    /// The CAS at `host` has refused a question with this error. Gives it back, as one that is known if it's one of
    /// several, which is told once.
    pub(super) fn add(&self, host: &str, error: Error) -> Error {
        let mut row = self.row();
        row.count += 1;
        if row.count < SEVERAL {
            return error;
        }
        if row.count == SEVERAL {
            tell_of_xet(host, &error);
        }
        let known = error.with(|c| c.is_known = true);
        row.last = Some((Instant::now(), known.clone()));
        known
    }

    fn row(&self) -> MutexGuard<'_, Row> {
        // Every change leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::error::Kind;

    /// One refusal is for what was asked; several in a row are for all that is.
    #[test]
    fn several_in_a_row_are_for_all() {
        let (refusals, refused) = (Refusals::default(), || Error::new(Kind::Forbidden, "no"));
        for _ in 0..3 {
            for _ in 1..SEVERAL {
                assert!(!refusals.add("cas.example", refused()).context().is_known);
            }
            assert!(refusals.check().is_ok());
            refusals.answered();
        }
        for _ in 0..SEVERAL {
            refusals.add("cas.example", refused());
        }
        assert!(refusals.check().unwrap_err().context().is_known);
        refusals.answered();
        assert!(refusals.check().is_ok());
    }
}
