//! What to read ahead of readers, as they have read so far.
//!
//! Who goes on where he has ended gets ever more ahead of him; who goes on by equal steps gets the next steps. Several
//! such may read one file side by side. Who jumps gets nothing.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is read ahead at first of one who goes on, in bytes; or twice what he reads. It grows fourfold up to the most.
const FIRST: u64 = 1 << 20;
pub(super) const MOST: u64 = 32 << 20;

/// What is read ahead of one who goes on ends where multiples of this do, mostly: what is read at a time, and asked about
/// before, is what lies between those.
pub(super) const GRID: u64 = 4 << 20;

/// Who has gone on before, and now leaves out no more than this, goes on.
const SKIPPED: u64 = 64 << 10;

/// So many equal steps are no accident.
const SURE: u64 = 2;

/// Steps that are read ahead at the most.
const STEPS: u64 = 8;

/// Readers that are told apart. The one that was seen last the longest ago is forgotten.
const READERS: usize = 64;

/// How a file is being read.
pub(super) struct Readahead {
    /// The most bytes to be ahead by; 0: nothing is read ahead.
    most: u64,
    readers: Mutex<Vec<Reader>>,
}

/// One who reads, as far as it's known.
#[derive(Clone)]
struct Reader {
    /// What he read last.
    last: Range<u64>,
    /// From the beginning of one read to that of the next, perhaps; 0: there are no steps.
    step: u64,
    /// How often he has done what was expected.
    met: u64,
    /// Up to where was read ahead.
    ahead: u64,
    /// How far to be ahead, in bytes.
    width: u64,
}

impl Readahead {
    /// For a file that keeps so many bytes in memory.
    pub(super) fn new(window: u64) -> Self {
        Self { most: MOST.min(window / 3 * 2), readers: Mutex::default() }
    }

    /// None at all.
    pub(super) fn off() -> Self {
        Self { most: 0, readers: Mutex::default() }
    }

    /// Somebody reads this of a file of `size` bytes, which isn't empty. What to read ahead, in order.
    pub(super) fn note(&self, range: &Range<u64>, size: u64) -> Vec<Range<u64>> {
        if self.most == 0 {
            return Vec::new();
        }
        let mut readers = self.readers();
        // Together they are to fit into what is kept.
        let others = readers.iter().filter(|reader| reader.width > 0 && !reader.goes_on(range));
        let most = self.most / (others.count() as u64 + 1);
        // From the last on: that one is the likeliest.
        let found = readers.iter().rposition(|reader| reader.goes_on(range));
        let (reader, wanted) = if let Some(found) = found {
            let mut reader = readers.remove(found);
            let wanted = reader.go_on(range, most, size);
            (reader, wanted)
        } else if let Some(found) = readers.iter().rposition(|reader| reader.steps(range)) {
            // Who was there may also go on from there.
            let mut reader = Reader { width: 0, ..readers[found].clone() };
            let stays = &mut readers[found];
            (stays.step, stays.ahead) = (0, stays.last.end);
            let wanted = reader.step_on(range, most, size);
            (reader, wanted)
        } else {
            let before = readers.last().map_or(0, |last| last.last.start);
            let step = range.start.saturating_sub(before);
            (Reader { last: range.clone(), step, met: 0, ahead: range.end, width: 0 }, Vec::new())
        };
        if readers.len() == READERS {
            readers.remove(0);
        }
        readers.push(reader);
        wanted
    }

    fn readers(&self) -> MutexGuard<'_, Vec<Reader>> {
        // Each change leaves it whole.
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// Whether he may be the one who reads this, having read to there.
    fn goes_on(&self, range: &Range<u64>) -> bool {
        let skipped = if self.width > 0 { SKIPPED } else { 0 };
        (self.last.end..=self.last.end + skipped).contains(&range.start)
    }

    /// Whether he may be the one who reads this, by equal steps.
    fn steps(&self, range: &Range<u64>) -> bool {
        self.step > 0 && self.last.start.checked_add(self.step) == Some(range.start)
    }

    fn go_on(&mut self, range: &Range<u64>, most: u64, size: u64) -> Vec<Range<u64>> {
        if self.step > 0 {
            // What was read ahead of steps is elsewhere.
            (self.step, self.ahead) = (0, range.end);
        }
        self.last = range.clone();
        self.met += 1;
        // Some of it is gone before more is read, so that it isn't read in crumbs; most of it is on its way all the time.
        let enough = (self.width / 2).max(self.width.saturating_sub(GRID));
        if self.ahead >= size || self.ahead > range.end + enough {
            return Vec::new();
        }
        let first = FIRST.max(2 * (range.end - range.start));
        self.width = (self.width * 4).max(first).min(most);
        let start = self.ahead.max(range.end);
        let end = (range.end + self.width).min(size);
        let even = if end == size { size } else { end / GRID * GRID };
        // In crumbs only while there is little ahead.
        self.ahead = match even > start {
            true => even,
            false if self.width > 2 * GRID => start,
            false => end,
        };
        let next = start..self.ahead;
        if next.is_empty() { Vec::new() } else { vec![next] }
    }

    fn step_on(&mut self, range: &Range<u64>, most: u64, size: u64) -> Vec<Range<u64>> {
        self.last = range.clone();
        self.met += 1;
        let (step, length) = (self.step, range.end - range.start);
        if self.met < SURE {
            return Vec::new();
        }
        let count = (self.met * 2).min(STEPS).min(most / length);
        let first = self.ahead.max(range.start + 1);
        let next = (1..=count).filter_map(|number| {
            let start = range.start.checked_add(step.checked_mul(number)?)?;
            (start >= first && start < size).then(|| start..(start + length).min(size))
        });
        let next: Vec<_> = next.collect();
        if let Some(last) = next.last() {
            self.ahead = last.start + 1;
        }
        next
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of ranges, of which some hold one")]
mod tests {
    use super::*;

    const SIZE: u64 = 1 << 30;

    fn note(ahead: &Readahead, start: u64, length: u64) -> Vec<Range<u64>> {
        ahead.note(&(start..(start + length).min(SIZE)), SIZE)
    }

    /// Who reads on is read ahead of: all of the file once, ever more at a time, and never too far.
    #[test]
    fn who_reads_on_is_read_ahead_of() {
        for length in [1_000, 65_536, 1 << 20, 5 << 20] {
            let (ahead, mut come, mut asked) = (Readahead::new(64 << 20), length, 0);
            for start in (0..SIZE).step_by(usize::try_from(length).unwrap()) {
                for range in note(&ahead, start, length) {
                    let end = start + length;
                    assert!(range.start == come.max(end) && range.end <= end + MOST, "{range:?}");
                    come = range.end;
                    asked += 1;
                }
            }
            assert_eq!(come, SIZE);
            assert!(asked < 100 + SIZE / (5 << 20), "{length}: asked {asked} times");
        }
    }

    /// Who goes on by equal steps gets the next ones, each once.
    #[test]
    fn equal_steps_are_read_ahead() {
        let ahead = Readahead::new(64 << 20);
        let mut wanted = Vec::new();
        for number in 0..20 {
            wanted.extend(note(&ahead, number * (10 << 20), 4096));
        }
        let starts: Vec<_> = wanted.iter().map(|range| range.start / (10 << 20)).collect();
        assert!(starts.is_sorted() && starts.windows(2).all(|two| two[0] < two[1]), "{starts:?}");
        assert!(starts.len() >= 16 && wanted.iter().all(|range| range.end - range.start == 4096));
    }

    /// Who jumps gets nothing; nor does anybody where it's switched off.
    #[test]
    fn jumps_are_followed_by_nothing() {
        let (ahead, off) = (Readahead::new(64 << 20), Readahead::off());
        let mut random = fastrand::Rng::with_seed(1);
        let jumps =
            (0..1000).filter(|_| !note(&ahead, random.u64(0..SIZE - 4096), 4096).is_empty());
        assert_eq!(jumps.count(), 0);
        assert!((0..100).all(|number| note(&off, number * 4096, 4096).is_empty()));
    }

    /// Several who read on side by side don't disturb each other.
    #[test]
    fn many_read_on_side_by_side() {
        let ahead = Readahead::new(64 << 20);
        let mut come = [0; 16];
        for step in 0..32 {
            for (reader, come) in come.iter_mut().enumerate() {
                let start = reader as u64 * (64 << 20) + step * (1 << 20);
                for range in note(&ahead, start, 1 << 20) {
                    *come += range.end - range.start;
                }
            }
        }
        assert!(come.iter().all(|&come| come >= 30 << 20), "{come:?}");
    }

    /// Little memory is little ahead.
    #[test]
    fn it_stays_within_the_window() {
        let ahead = Readahead::new(3 << 20);
        for start in (0..64 << 20).step_by(65_536) {
            for range in note(&ahead, start, 65_536) {
                assert!(range.end <= start + 65_536 + (2 << 20));
            }
        }
    }
}
