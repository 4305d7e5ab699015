//! The most bytes per second that a client receives.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::call::waits::Waits;

/// A speed limit for everything that one client receives. Who reads is held back, and with that,
/// by TCP's flow control, who sends.
#[derive(Debug)]
pub(super) struct Throttle {
    limiter: DefaultDirectRateLimiter,
    clock: DefaultClock,
    /// What is counted: the limiter's clock has whole nanoseconds, in which a byte has no place.
    bytes_per_cell: usize,
    /// The most cells that are admitted in one go.
    burst: NonZeroU32,
    /// Bytes that don't fill a cell yet.
    carried: AtomicUsize,
}

impl Throttle {
    /// The part of a second that may be made up for at once, after a pause or a late wake-up: the
    /// smoother, the more of it is lost on a busy machine.
    const BURSTS_PER_SECOND: u32 = 20;

    /// So few that rounding the time of each doesn't matter, so many that they are small.
    const CELLS_PER_SECOND: u32 = 100_000;

    pub(super) fn new(bytes_per_second: NonZeroU32) -> Self {
        let bytes_per_cell = bytes_per_second.get().div_ceil(Self::CELLS_PER_SECOND);
        let per_second = NonZeroU32::new(bytes_per_second.get() / bytes_per_cell);
        let per_second = per_second.unwrap_or(NonZeroU32::MIN);
        let burst = NonZeroU32::new(per_second.get() / Self::BURSTS_PER_SECOND);
        let burst = burst.unwrap_or(NonZeroU32::MIN);
        Self {
            limiter: RateLimiter::direct(Quota::per_second(per_second).allow_burst(burst)),
            clock: DefaultClock::default(),
            bytes_per_cell: bytes_per_cell as usize,
            burst,
            carried: AtomicUsize::new(0),
        }
    }

    /// Waits until some of `bytes` more may be received, and says how many: those of one burst, so that
    /// who waits for many sees them come. The wait is none for the server, and no sign of trouble.
    pub(super) async fn admit(&self, bytes: usize, waits: &Waits) -> usize {
        let burst = usize::try_from(self.burst.get()).unwrap_or(usize::MAX);
        let bytes = bytes.min(burst.saturating_mul(self.bytes_per_cell));
        let mut left = self.cells(bytes);
        while let Some(step) = NonZeroU32::new(left.min(self.burst.get())) {
            match self.limiter.check_n(step) {
                Ok(Err(not_yet)) => {
                    let pause = not_yet.wait_time_from(self.clock.now());
                    let _waiting = waits.begin("its share of max_bytes_per_second", pause);
                    tokio::time::sleep(pause).await;
                }
                // A step is at most a burst, so there is always room for it.
                Ok(Ok(())) | Err(_) => left -= step.get(),
            }
        }
        bytes
    }

    /// How many cells so many more bytes fill.
    fn cells(&self, bytes: usize) -> u32 {
        let before = self.carried.fetch_add(bytes, Ordering::Relaxed);
        // A `usize` of bytes takes more than a hundred years.
        let filled =
            before.saturating_add(bytes) / self.bytes_per_cell - before / self.bytes_per_cell;
        u32::try_from(filled).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// Many readers together get what the limit says, whatever the size of their pieces. (An upper
    /// bound only: a busy machine makes them slower.)
    #[tokio::test]
    async fn readers_share_the_limit() {
        let throttle = Throttle::new(NonZeroU32::new(1_000_000).unwrap());
        let read = async |pieces: usize, mut bytes: usize| {
            let (whole, waits) = (bytes, Waits::default());
            for _ in 0..pieces {
                while bytes > 0 {
                    bytes -= throttle.admit(bytes, &waits).await;
                }
                bytes = whole;
            }
        };
        let started = Instant::now();
        tokio::join!(read(100, 1_000), read(1, 300_000), read(5, 20_000));
        // 500,000 bytes, of which one burst comes at once.
        assert!(started.elapsed() >= Duration::from_millis(440), "{:?}", started.elapsed());
    }

    /// Who waits for its share says so, for as long as that is no sign of trouble; and has what it may
    /// have before all of it has come.
    #[tokio::test]
    async fn a_share_is_a_wait_that_is_known() {
        let throttle = Throttle::new(NonZeroU32::new(1_000).unwrap());
        let waits = Waits::default();
        assert_eq!(throttle.admit(300_000, &waits).await, 50);
        let mut more = std::pin::pin!(throttle.admit(300_000, &waits));
        assert!(futures_util::poll!(more.as_mut()).is_pending());
        assert!(waits.describe().contains("its share of max_bytes_per_second"));
        assert_eq!(more.await, 50);
        assert_eq!(waits.describe(), Waits::default().describe());
    }

    /// The limit is what was asked for, from a byte to the most that can be said, and no byte is
    /// lost between two pieces.
    #[test]
    fn rounding_does_not_change_the_limit() {
        for limit in [1, 99, 99_999, 100_001, 33_554_432, 600_000_000, u32::MAX] {
            let throttle = Throttle::new(NonZeroU32::new(limit).unwrap());
            let pieces = 1_000_u32;
            let cells: u32 = (0..pieces).map(|_| throttle.cells(12_345)).sum();
            let bytes = u64::from(cells) * throttle.bytes_per_cell as u64;
            let whole = u64::from(pieces) * 12_345;
            assert!(whole - bytes < throttle.bytes_per_cell as u64, "{limit}");
            let per_second = limit / u32::try_from(throttle.bytes_per_cell).unwrap();
            let nanoseconds = 1_000_000_000 / u64::from(per_second);
            let counted = throttle.bytes_per_cell as u64 * 1_000_000_000 / nanoseconds;
            let off = counted.abs_diff(u64::from(limit));
            assert!(off * 1000 <= u64::from(limit) * 2, "{limit}: {counted}");
        }
    }
}
