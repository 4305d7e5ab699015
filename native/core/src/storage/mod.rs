//! Content by its Xet hash, without a repo.

pub(crate) mod hash;
pub(crate) mod upload;
