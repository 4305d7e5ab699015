//! The `tracing` subscriber of this library: events become records of the callback, or lines on
//! stderr.
//!
//! The C library has its own copy of `tracing`, so it meets another subscriber only in a Rust
//! program that links this crate.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterExt};
use tracing_subscriber::layer::{Context, Filter, Layer, SubscriberExt};
use tracing_subscriber::{Registry, fmt as stderr};

use super::delivery::{self, Record};
use xet_ffi_core::model::error::{Error, Result};
use xet_ffi_core::model::redact::{self, redact};

/// Longest message of a record, in bytes.
const MAX_MESSAGE: usize = 8 * 1024;

/// The value of `RUST_LOG`, unless it is empty.
pub(crate) fn rust_log() -> Option<String> {
    std::env::var("RUST_LOG").ok().filter(|spec| !spec.is_empty())
}

/// Makes this library's subscriber that of the process, once. Reads `RUST_LOG`.
pub(crate) fn install() -> Result<()> {
    static OUTCOME: OnceLock<Result<()>> = OnceLock::new();
    OUTCOME.get_or_init(try_install).clone()
}

fn try_install() -> Result<()> {
    let to_stderr = rust_log().map(|spec| {
        stderr::layer()
            .with_ansi(false)
            .with_writer(|| RedactedStderr)
            // It would print about its own failure to print.
            .log_internal_errors(false)
            .with_filter(EnvFilter::builder().parse_lossy(spec).and(WithoutCallback))
    });
    redact::prepare();
    let to_callback = ToCallback.with_filter(WithCallback);
    let subscriber = Registry::default().with(to_stderr).with(to_callback);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| {
        let problem = "can't be used: the program has installed a tracing subscriber of its own";
        Error::invalid("callback", problem)
    })?;
    #[cfg(unix)]
    delivery::fork::prepare_for_forks()?;
    Ok(())
}

/// Makes `tracing` ask the filters again. It remembers their answers for each place that logs.
pub(crate) fn refresh() {
    tracing::callsite::rebuild_interest_cache();
}

/// Lets pass what the callback wants.
struct WithCallback;

impl<S> Filter<S> for WithCallback {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        *metadata.level() <= delivery::max_level()
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if *metadata.level() <= delivery::max_level() {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(delivery::max_level())
    }
}

/// Lets everything pass while there is no callback.
struct WithoutCallback;

impl<S> Filter<S> for WithoutCallback {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        !delivery::is_registered()
    }

    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> Interest {
        if delivery::is_registered() { Interest::never() } else { Interest::always() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(if delivery::is_registered() { LevelFilter::OFF } else { LevelFilter::TRACE })
    }
}

/// Queues events as records.
struct ToCallback;

impl<S: Subscriber> Layer<S> for ToCallback {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = Message::default();
        event.record(&mut message);
        let metadata = event.metadata();
        let record = Record::new(*metadata.level(), metadata.target(), &redact(&message.finish()));
        delivery::push(*metadata.level(), record);
    }
}

/// An event's text, as a person reads it, too: its message, its other fields as `(name=value, ...)`, and
/// what went wrong behind a colon. Bounded.
#[derive(Default)]
struct Message {
    text: Bounded,
    fields: Bounded,
    error: Bounded,
}

impl Message {
    fn finish(mut self) -> String {
        // Can't fail: Bounded takes everything.
        if !self.fields.text.is_empty() {
            let _ = write!(self.text, " ({})", self.fields.text);
        }
        if !self.error.text.is_empty() {
            let _ = write!(self.text, ": {}", self.error.text);
        }
        if self.text.cut || self.fields.cut || self.error.cut {
            self.text.text.push_str("...");
        }
        self.text.text
    }
}

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // An error can only come from a Debug that gives up; what it has written stands.
        let _ = match field.name() {
            "message" => write!(self.text, "{value:?}"),
            "error" => write!(self.error, "{value:?}"),
            name => {
                let comma = if self.fields.text.is_empty() { "" } else { ", " };
                write!(self.fields, "{comma}{name}={value:?}")
            }
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            let _ = self.text.write_str(value);
        } else {
            self.record_debug(field, &value);
        }
    }
}

/// Keeps the first [`MAX_MESSAGE`] bytes.
#[derive(Default)]
struct Bounded {
    text: String,
    cut: bool,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = MAX_MESSAGE - self.text.len();
        let fitting = more.floor_char_boundary(room);
        self.text.push_str(&more[..fitting]);
        self.cut |= fitting < more.len();
        Ok(())
    }
}

/// Stderr, for whole lines. Without the lock that Rust has for it: another thread may hold that while
/// this one forks, and then a child that logs would wait for ever.
struct RedactedStderr;

impl Write for RedactedStderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let redacted = redact(&String::from_utf8_lossy(line)).into_owned();
        let stderr = io::stderr().as_fd().try_clone_to_owned()?;
        File::from(stderr).write_all(redacted.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// A child of a fork, which another thread was writing to stderr in, can write to it.
    #[test]
    fn a_forked_child_finds_stderr_free() {
        /// Ends the thread however the test ends.
        struct Done<'a>(&'a AtomicBool);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        // As whoever installs the subscriber does.
        redact::prepare();
        let done = AtomicBool::new(false);
        // Nothing is written, so that the test says nothing.
        let write = || RedactedStderr.write(b"").is_ok();
        std::thread::scope(|scope| {
            let _done = Done(&done);
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert!(write());
                }
            });
            for _ in 0..50 {
                // SAFETY: the child only does what is tested, and leaves without cleaning up.
                let child = unsafe { libc::fork() };
                if child == 0 {
                    // SAFETY: has the child killed if it waits for a lock that nobody gives up.
                    unsafe { libc::alarm(20) };
                    // SAFETY: ends the child at once.
                    unsafe { libc::_exit(i32::from(!write())) }
                }
                assert!(child > 0);
                let mut status = 0;
                // SAFETY: waits for the child made above.
                assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
                assert_eq!(status, 0);
            }
        });
    }
}
