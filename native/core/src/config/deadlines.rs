//! How long each stage of a request may take.

use std::time::Duration;

use crate::config::options::DeadlineOptions;
use crate::model::error::{Error, Result};

/// The limits of one request's stages. Whoever makes the request again starts them anew; the limit
/// for a call as a whole is the call's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Longest wait for a connection.
    pub connect: Duration,
    /// Longest wait for the head of an answer, connecting included.
    pub first_byte: Duration,
    /// Longest silence in a body.
    pub stall: Duration,
    /// Bytes per second below which a body counts as stalled too, once it has been that slow for
    /// half the time of `stall`; 0: never. So do many short bodies one after the other. As curl's `--speed-limit` and `--speed-time`.
    pub min_speed: u32,
}

impl Deadlines {
    const CONNECT: Duration = Duration::from_secs(10);
    const FIRST_BYTE: Duration = Duration::from_secs(15);
    /// As `HF_HUB_DOWNLOAD_TIMEOUT`.
    const STALL: Duration = Duration::from_secs(10);
    /// Less than a modem brought. A stream that is this slow costs more time than a new one.
    const MIN_SPEED: u32 = 2048;

    /// The limits where nothing else is said.
    pub const DEFAULT: Self = Self {
        connect: Self::CONNECT,
        first_byte: Self::FIRST_BYTE,
        stall: Self::STALL,
        min_speed: Self::MIN_SPEED,
    };

    /// These limits, with those that `options` names in their place. One who limits the silence
    /// (`read_timeout`) and says nothing of the first byte means both.
    pub fn with(self, options: &DeadlineOptions) -> Result<Self> {
        let limit = |field, given: Option<Duration>, otherwise| match given {
            None => Ok(otherwise),
            Some(given) => sane(field, given),
        };
        let first_byte = options.first_byte_timeout.or(options.read_timeout);
        Ok(Self {
            connect: limit("options.connect_timeout", options.connect_timeout, self.connect)?,
            stall: limit("options.read_timeout", options.read_timeout, self.stall)?,
            first_byte: limit("options.first_byte_timeout", first_byte, self.first_byte)?,
            min_speed: options.min_speed.unwrap_or(self.min_speed),
        })
    }

    /// The longest time that passes before some deadline ends a wait for the network.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.connect.max(self.first_byte).max(self.stall)
    }

    /// How long nothing at all may move before a wait is ended: three deadlines in a row.
    #[must_use]
    pub fn standstill(&self) -> Duration {
        self.longest() * 3 + Duration::from_secs(5)
    }
}

/// A deadline of a day or more is a mistake of units, and would defeat "never stuck".
pub(super) fn sane(field: &str, wait: Duration) -> Result<Duration> {
    const DAY: Duration = Duration::from_hours(24);
    if wait.is_zero() || wait >= DAY {
        return Err(Error::invalid(field, format!("{wait:?} is not above zero and below a day")));
    }
    Ok(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What isn't named stays; a limit on silence holds for the first byte too, unless that has
    /// one of its own.
    #[test]
    fn options_replace_what_they_name() {
        let read = DeadlineOptions { read_timeout: Some(SECOND), ..DeadlineOptions::default() };
        let deadlines = Deadlines::DEFAULT.with(&read).unwrap();
        assert_eq!((deadlines.stall, deadlines.first_byte), (SECOND, SECOND));
        assert_eq!(deadlines.connect, Deadlines::DEFAULT.connect);
        let both = DeadlineOptions { first_byte_timeout: Some(SECOND * 9), ..read };
        let deadlines = Deadlines::DEFAULT.with(&both).unwrap();
        assert_eq!((deadlines.stall, deadlines.first_byte), (SECOND, SECOND * 9));
        assert_eq!(deadlines.longest(), SECOND * 10);
    }

    /// Zero, and a day, are refused by name.
    #[test]
    fn absurd_limits_are_refused() {
        for absurd in [Duration::ZERO, Duration::from_hours(24)] {
            let options =
                DeadlineOptions { first_byte_timeout: Some(absurd), ..DeadlineOptions::default() };
            let error = Deadlines::DEFAULT.with(&options).unwrap_err();
            assert_eq!(error.context().field.as_deref(), Some("options.first_byte_timeout"));
        }
    }
}
