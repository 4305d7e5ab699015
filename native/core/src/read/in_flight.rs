//! What is on its way, so that nothing is fetched twice.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::gathered::{Chunks, touch};
use crate::download::Ranges;

/// Where what somebody brings comes in.
pub(super) type Landing = watch::Receiver<Chunks>;

/// The parts of a file that somebody brings, or proves.
#[derive(Clone, Default)]
pub(super) struct InFlight(Arc<Mutex<Vec<Flight>>>);

struct Flight {
    parts: Vec<Range<u64>>,
    /// What it has brought, when it has landed; closed without, if it failed.
    lands: Landing,
    number: u64,
}

/// Parts that only the owner brings. Dropping it says that they are there, or won't be.
pub(super) struct Claim {
    parts: Vec<Range<u64>>,
    flights: InFlight,
    number: u64,
    lands: watch::Sender<Chunks>,
}

impl InFlight {
    /// Takes of these parts, which are in order, what nobody brings; and gives what to wait for besides.
    pub(super) fn claim(&self, wanted: &[Range<u64>]) -> (Claim, Vec<Landing>) {
        let mut flights = self.flights();
        let is_wanted = |part: &Range<u64>| wanted.iter().any(|wanted| touch(wanted, part));
        let others: Vec<_> =
            flights.iter().filter(|flight| flight.parts.iter().any(is_wanted)).collect();
        let taken: Ranges = others.iter().flat_map(|flight| flight.parts.iter().cloned()).collect();
        let parts: Vec<_> = wanted.iter().flat_map(|part| taken.gaps(part)).collect();
        let others = others.into_iter().map(|flight| flight.lands.clone()).collect();
        let (lands, landed) = watch::channel(Chunks::new());
        let number = flights.last().map_or(0, |last| last.number + 1);
        flights.push(Flight { parts: parts.clone(), lands: landed, number });
        drop(flights);
        (Claim { parts, flights: self.clone(), number, lands }, others)
    }

    /// What to wait for until nobody brings anything of these parts.
    pub(super) fn others(&self, wanted: &[Range<u64>]) -> Vec<Landing> {
        let is_wanted = |part: &Range<u64>| wanted.iter().any(|wanted| touch(wanted, part));
        let flights = self.flights();
        let others = flights.iter().filter(|flight| flight.parts.iter().any(is_wanted));
        others.map(|flight| flight.lands.clone()).collect()
    }

    fn flights(&self) -> MutexGuard<'_, Vec<Flight>> {
        // Each change leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until all of these have landed, or failed. What they have brought.
pub(super) async fn landed(flights: Vec<Landing>) -> Chunks {
    let mut all = Chunks::new();
    for mut flight in flights {
        // An error says that it failed.
        if flight.changed().await.is_ok() {
            all.extend(flight.borrow().iter().map(|(&at, chunk)| (at, chunk.clone())));
        }
    }
    all
}

impl Claim {
    pub(super) fn parts(&self) -> &[Range<u64>] {
        &self.parts
    }

    /// Says that they are there, and hands them to whoever waits.
    pub(super) fn land(self, chunks: Chunks) {
        // Nobody may wait.
        let _ = self.lands.send(chunks);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.flights.flights().retain(|flight| flight.number != self.number);
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of ranges, of which some hold one")]
mod tests {
    use super::*;

    /// Each byte is brought by one; whoever wants it, too, waits until that one is done.
    #[tokio::test]
    async fn each_byte_is_brought_by_one() {
        let flights = InFlight::default();
        let (first, others) = flights.claim(&[0..100, 200..300]);
        assert!(others.is_empty() && first.parts() == [0..100, 200..300]);
        let (second, others) = flights.claim(&[50..250]);
        assert_eq!((second.parts(), others.len()), (&[100..200][..], 1));
        let (third, all) = flights.claim(&[90..110]);
        assert_eq!((third.parts().len(), all.len()), (0, 2));
        assert!(flights.others(&[300..400]).is_empty() && flights.others(&[299..400]).len() == 1);
        let chunk = super::super::gathered::Chunk::unhashed(bytes::Bytes::from_static(b"chunk"));
        first.land(Chunks::from([(7, chunk)]));
        assert_eq!(landed(others).await.into_keys().collect::<Vec<_>>(), [7]);
        drop(second);
        assert_eq!(landed(all).await.len(), 1);
        assert_eq!(flights.claim(&[0..300]).0.parts(), [0..300]);
    }
}
