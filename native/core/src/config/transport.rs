//! Which way Xet files come. A service that moves to Xet in steps switches it here.

use super::environment::Environment;
use crate::config::options::ClientOptions;
use crate::model::error::{Error, Result};

/// Which way Xet files come. All other files come over plain HTTP, whatever this says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Xet, and plain HTTP where Xet fails.
    #[default]
    Auto,
    /// Xet alone: where it fails, its error is the call's.
    Xet,
    /// Plain HTTP.
    Http,
}

impl Transport {
    /// The variable that says it for C, Go and Python alike.
    const VARIABLE: &str = "XET_FFI_TRANSPORT";

    /// Whether Xet is asked at all.
    #[must_use]
    pub fn uses_xet(self) -> bool {
        self != Self::Http
    }

    /// Whether plain HTTP takes over where Xet fails.
    #[must_use]
    pub fn falls_back(self) -> bool {
        self == Self::Auto
    }

    /// The caller's, else that of `XET_FFI_TRANSPORT`, else `HF_HUB_DISABLE_XET`'s. What names this
    /// library beats what is meant for `huggingface_hub`, too: on a machine where Xet is switched
    /// off for all, one service can still be moved to it.
    pub(super) fn resolve(options: &ClientOptions, environment: &Environment) -> Result<Self> {
        if let Some(transport) = options.transport {
            return Ok(transport);
        }
        match environment.text(Self::VARIABLE)? {
            Some(text) => Self::parse(&text).ok_or_else(|| {
                let problem = format!("{text:?} is none of auto, xet and http");
                Error::invalid(Self::VARIABLE, problem)
            }),
            None if environment.flag("HF_HUB_DISABLE_XET") => Ok(Self::Http),
            None => Ok(Self::Auto),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "auto" => Some(Self::Auto),
            "xet" => Some(Self::Xet),
            "http" => Some(Self::Http),
            _ => None,
        }
    }
}
