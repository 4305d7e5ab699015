//! xet-hub: a Hugging Face Hub in one process, for tests, demos and CI without a network.
//!
//! Three origins on loopback: the Hub's API, a Xet CAS, and storage behind signed URLs. All state
//! is in one directory. See README.md for the command line and the test API.

mod admin;
mod api;
mod app;
mod auth;
mod cas;
mod cli;
mod config;
mod errors;
mod faults;
mod git;
mod ids;
mod limits;
mod line;
mod net;
mod ranges;
mod route;
mod server;
mod sign;
mod stats;
mod storage;
mod store;
mod sync;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xet-hub: {error}");
            ExitCode::FAILURE
        }
    }
}
