//! What is on its way, so that nothing is fetched twice.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::gathered::{Chunks, touch};
use crate::call::progress::Counters;
use crate::download::Ranges;

/// How often a look is taken at whoever is waited for.
const LOOK: Duration = Duration::from_millis(100);

/// So many times as long as somebody may stand still, who gets on is waited for.
const AT_MOST: u32 = 6;

/// Where what somebody brings comes in.
#[derive(Clone)]
pub(super) struct Landing {
    /// What it has brought, when it has landed; closed without, if it failed.
    lands: watch::Receiver<Chunks>,
    /// What that one counts, which shows whether he gets on.
    by: Arc<Counters>,
}

/// The parts of a file that somebody brings, or proves.
#[derive(Clone, Default)]
pub(super) struct InFlight(Arc<Mutex<Vec<Flight>>>);

struct Flight {
    parts: Vec<Range<u64>>,
    landing: Landing,
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
    /// Takes of these parts, which are in order, what nobody brings; and gives what to wait for besides. `alone`: takes
    /// all of them, and waits for nobody. `counters`: the owner's.
    pub(super) fn claim(
        &self,
        wanted: &[Range<u64>],
        alone: bool,
        counters: &Arc<Counters>,
    ) -> (Claim, Vec<Landing>) {
        let mut flights = self.flights();
        let is_wanted = |part: &Range<u64>| wanted.iter().any(|wanted| touch(wanted, part));
        let others: Vec<_> =
            flights.iter().filter(|flight| !alone && flight.parts.iter().any(is_wanted)).collect();
        let taken: Ranges = others.iter().flat_map(|flight| flight.parts.iter().cloned()).collect();
        let parts: Vec<_> = wanted.iter().flat_map(|part| taken.gaps(part)).collect();
        let others = others.into_iter().map(|flight| flight.landing.clone()).collect();
        let (lands, landed) = watch::channel(Chunks::new());
        let number = flights.last().map_or(0, |last| last.number + 1);
        let landing = Landing { lands: landed, by: Arc::clone(counters) };
        flights.push(Flight { parts: parts.clone(), landing, number });
        drop(flights);
        (Claim { parts, flights: self.clone(), number, lands }, others)
    }

    /// What to wait for until nobody brings anything of these parts.
    pub(super) fn others(&self, wanted: &[Range<u64>]) -> Vec<Landing> {
        let is_wanted = |part: &Range<u64>| wanted.iter().any(|wanted| touch(wanted, part));
        let flights = self.flights();
        let others = flights.iter().filter(|flight| flight.parts.iter().any(is_wanted));
        others.map(|flight| flight.landing.clone()).collect()
    }

    fn flights(&self) -> MutexGuard<'_, Vec<Flight>> {
        // Each change leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until all of these have landed, or failed. What they have brought; and whether that's all: false where one
/// stands still for longer than `patience`, or takes too long, whom nobody else is to wait for then. Another's limits
/// in time are none of the one's who waits; while those get on for whom he waits, so does he, in his `counters`.
pub(super) async fn landed(
    flights: Vec<Landing>,
    counters: &Counters,
    patience: Duration,
) -> (Chunks, bool) {
    let (mut all, begun) = (Chunks::new(), Instant::now());
    for mut flight in flights {
        let (mut seen, mut alive) = (flight.by.movement(), Instant::now());
        loop {
            match tokio::time::timeout(LOOK, flight.lands.changed()).await {
                Ok(Ok(())) => {
                    let came = flight.lands.borrow();
                    all.extend(came.iter().map(|(&at, chunk)| (at, chunk.clone())));
                    break;
                }
                // It failed.
                Ok(Err(_)) => break,
                Err(_) => {}
            }
            let now = flight.by.movement();
            if now != seen {
                (seen, alive) = (now, Instant::now());
                counters.beat();
            }
            if alive.elapsed() >= patience || begun.elapsed() >= patience * AT_MOST {
                return (all, false);
            }
        }
    }
    (all, true)
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
        let (flights, counters) = (InFlight::default(), Arc::<Counters>::default());
        let claim = |parts: &[Range<u64>]| flights.claim(parts, false, &counters);
        let (first, others) = claim(&[0..100, 200..300]);
        assert!(others.is_empty() && first.parts() == [0..100, 200..300]);
        let (second, others) = claim(&[50..250]);
        assert_eq!((second.parts(), others.len()), (&[100..200][..], 1));
        let (third, all) = claim(&[90..110]);
        assert_eq!((third.parts().len(), all.len()), (0, 2));
        assert!(flights.others(&[300..400]).is_empty() && flights.others(&[299..400]).len() == 1);
        let chunk = super::super::gathered::Chunk::unhashed(bytes::Bytes::from_static(b"chunk"));
        first.land(Chunks::from([(7, chunk)]));
        let wait = |flights| landed(flights, &counters, Duration::from_mins(1));
        let (came, is_all) = wait(others).await;
        assert_eq!((came.into_keys().collect::<Vec<_>>(), is_all), (vec![7], true));
        drop(second);
        let (came, is_all) = wait(all).await;
        assert_eq!((came.len(), is_all), (1, true));
        assert_eq!(claim(&[0..300]).0.parts(), [0..300]);
    }

    /// Whoever stands still is left behind, and who gets on isn't, for a while.
    #[tokio::test(start_paused = true)]
    async fn who_stands_still_is_left_behind() {
        let (flights, slow) = (InFlight::default(), Arc::<Counters>::default());
        let mine = Arc::<Counters>::default();
        let patience = Duration::from_millis(300);
        let (held, _) = flights.claim(&[0..100], false, &slow);
        let others = || flights.others(&[0..100]);
        assert!(!landed(others(), &mine, patience).await.1);
        let (alone, none) = flights.claim(&[50..200], true, &mine);
        assert!(none.is_empty() && alone.parts() == [50..200]);
        let beats = async {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                slow.beat();
            }
        };
        let (before, begun) = (mine.movement(), Instant::now());
        tokio::select! {
            (_, is_all) = landed(others(), &mine, patience) => assert!(!is_all),
            () = beats => unreachable!(),
        }
        assert!(begun.elapsed() >= patience && mine.movement() != before);
        drop((held, alone));
    }
}
