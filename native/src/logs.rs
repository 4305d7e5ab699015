//! Section "logs" of `xet.h`.
//!
//! Records come from `tracing`. With a callback they are queued and delivered on the caller's
//! thread ([`delivery`]); without one, `RUST_LOG` sends them to stderr; with neither, they cost one
//! comparison each ([`subscriber`]).

mod delivery;
mod subscriber;

use std::ffi::{c_char, c_void};

use tracing::level_filters::LevelFilter;

use self::delivery::Registration;
pub(crate) use self::delivery::deliver;
#[cfg(test)]
pub(crate) use self::delivery::tests::with_queue;
use xet_ffi_core::model::error::{Error, Result};

pub(crate) type XetLogCallback = unsafe extern "C" fn(
    level: i32,
    target: *const c_char,
    message: *const c_char,
    user_data: *mut c_void,
);

pub(crate) const XET_LOG_OFF: i32 = 0;
pub(crate) const XET_LOG_ERROR: i32 = 1;
pub(crate) const XET_LOG_WARN: i32 = 2;
pub(crate) const XET_LOG_INFO: i32 = 3;
pub(crate) const XET_LOG_DEBUG: i32 = 4;
pub(crate) const XET_LOG_TRACE: i32 = 5;

/// Lets `RUST_LOG` take effect. To be called when a client is created, like everything that reads
/// the environment.
pub(crate) fn follow_environment() {
    if subscriber::rust_log().is_some() {
        // If the process has a subscriber of its own, that one decides what RUST_LOG means.
        let _ = subscriber::install();
    }
}

fn level_filter(max_level: i32) -> Result<LevelFilter> {
    Ok(match max_level {
        XET_LOG_OFF => LevelFilter::OFF,
        XET_LOG_ERROR => LevelFilter::ERROR,
        XET_LOG_WARN => LevelFilter::WARN,
        XET_LOG_INFO => LevelFilter::INFO,
        XET_LOG_DEBUG => LevelFilter::DEBUG,
        XET_LOG_TRACE => LevelFilter::TRACE,
        other => {
            let problem = format!("is {other}, which is none of XET_LOG_*");
            return Err(Error::invalid("max_level", problem));
        }
    })
}

entry! {
    fn xet_set_log_callback(
        callback: Option<XetLogCallback>,
        user_data: *mut c_void,
        max_level: i32,
    ) -> Result {
        let max_level = level_filter(max_level)?;
        if callback.is_some() {
            subscriber::install()?;
        }
        // `xet.h` lets the callback be called with its pointer, on the thread of any call, until it
        // is replaced.
        delivery::register(callback.map(|call| Registration { call, user_data, max_level }));
        subscriber::refresh();
        Ok(())
    }
}
