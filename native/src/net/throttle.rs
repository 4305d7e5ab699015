//! The most bytes per second that a client receives.

use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// A speed limit for everything that one client receives. Who reads is held back, and with that,
/// by TCP's flow control, who sends.
#[derive(Debug)]
pub(super) struct Throttle {
    limiter: DefaultDirectRateLimiter,
    clock: DefaultClock,
    /// The most bytes that are admitted in one go.
    burst: NonZeroU32,
}

impl Throttle {
    /// The part of a second that may be made up for at once, after a pause: the smoother, the more
    /// wake-ups.
    const BURSTS_PER_SECOND: u32 = 50;

    pub(super) fn new(bytes_per_second: NonZeroU32) -> Self {
        let burst = bytes_per_second.get() / Self::BURSTS_PER_SECOND;
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(bytes_per_second).allow_burst(burst);
        Self { limiter: RateLimiter::direct(quota), clock: DefaultClock::default(), burst }
    }

    /// Waits until `bytes` more may be received.
    pub(super) async fn admit(&self, bytes: usize) {
        let mut left = u32::try_from(bytes).unwrap_or(u32::MAX);
        while let Some(step) = NonZeroU32::new(left.min(self.burst.get())) {
            match self.limiter.check_n(step) {
                Ok(Err(not_yet)) => {
                    tokio::time::sleep(not_yet.wait_time_from(self.clock.now())).await;
                }
                // A step is at most a burst, so there is always room for it.
                Ok(Ok(())) | Err(_) => left -= step.get(),
            }
        }
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
        let started = Instant::now();
        tokio::join!(
            async {
                for _ in 0..100 {
                    throttle.admit(1_000).await;
                }
            },
            throttle.admit(300_000),
            async {
                for _ in 0..5 {
                    throttle.admit(20_000).await;
                }
            },
        );
        // 500,000 bytes, of which one burst comes at once.
        assert!(started.elapsed() >= Duration::from_millis(470), "{:?}", started.elapsed());
    }
}
