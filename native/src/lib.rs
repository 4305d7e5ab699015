//! libxet
