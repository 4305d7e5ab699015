//! Requests that are held back, since a server refuses them for now.

use std::fmt;
use std::time::{Duration, Instant};

/// How long a request is held back, since the server has refused it, or another one of its sort, for
/// now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// When its turn comes, which is after the server's time and those that wait as well.
    pub until: Instant,
    /// The server has said how long; otherwise it's our guess.
    pub is_named: bool,
    /// The server has refused this very request. Otherwise it wasn't even sent.
    pub was_sent: bool,
    /// Why its end isn't to be waited for.
    pub futile: Option<Futile>,
}

/// Why nobody waits for a server that refuses for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Futile {
    /// It names a time that is longer than this.
    TooLong(Duration),
    /// It has let nothing through for so long.
    Lasting(Duration),
    /// It has refused this one request for so long, and let others through.
    Alone(Duration),
    /// It refuses by a quota other than that of requests, and says in words for how long: longer than a window.
    Quota,
}

impl fmt::Display for Futile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = |time: &Duration| time.as_secs() / 60;
        match self {
            Self::TooLong(time) => {
                write!(
                    f,
                    "that is longer than the {} minutes that are waited at most",
                    minutes(time)
                )
            }
            Self::Lasting(time) => {
                write!(f, "nothing has been let through for {} minutes", minutes(time))
            }
            Self::Alone(time) => write!(
                f,
                "this one has been refused for {} minutes, while others were let through",
                minutes(time)
            ),
            Self::Quota => f.write_str("a quota isn't waited for"),
        }
    }
}
