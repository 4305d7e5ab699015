//! The command line.

use std::error::Error;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::app::{App, DataLock};
use crate::auth::{Role, User, Users};
use crate::config::Config;
use crate::server::{self, Ready};

/// A Hugging Face Hub in one process, with Xet storage, for tests, demos and CI.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a data directory until SIGTERM or SIGINT.
    Serve(Box<Serve>),
    /// Manage the users of a data directory (not while it is being served).
    #[command(subcommand)]
    User(UserCommand),
}

#[derive(Debug, Args)]
struct Serve {
    /// Where everything is kept. Created if it is missing.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Port of the Hub; 0 lets the system pick one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Address to listen on. The test API exists on loopback addresses only.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// A JSON file with settings; flags overrule it.
    #[arg(long, value_name = "FILE.json")]
    config: Option<PathBuf>,
    /// A user for this run; may be repeated. ROLE is read, write (default) or admin.
    #[arg(long, value_name = "USER:TOKEN[:ROLE]", value_parser = User::from_flag)]
    token: Vec<User>,
    /// Lifetime of Xet tokens.
    #[arg(long, value_name = "SECONDS")]
    token_ttl: Option<u64>,
    /// Lifetime of storage URLs.
    #[arg(long, value_name = "SECONDS")]
    url_ttl: Option<u64>,
    /// Entries on a page of a listing.
    #[arg(long, value_name = "N")]
    page_size: Option<usize>,
    /// Answer plain files with a redirect to the resolve cache first, as the real Hub does.
    #[arg(long, value_name = "BOOL")]
    resolve_cache_redirect: Option<bool>,
    /// Log level or filter, as in `RUST_LOG`. Logs go to standard error.
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log: String,
    /// What the one line on standard output is, once all origins listen.
    #[arg(long, value_name = "FORM", default_value = "url")]
    print_ready: Ready,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Add a user, or a further token for one, and print the token.
    Add {
        /// Name, which is also the user's namespace.
        name: String,
        /// The data directory.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// What the token allows.
        #[arg(long, default_value = "write")]
        role: Role,
    },
}

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// Does what the command line says.
pub(crate) fn run(cli: Cli) -> Outcome {
    match cli.command {
        Command::User(UserCommand::Add { name, data, role }) => {
            let _lock = DataLock::acquire(&data)?;
            println!("{}", Users::create(&data, &name, role)?);
            Ok(())
        }
        Command::Serve(serve) => {
            tracing_subscriber::fmt()
                .with_env_filter(log_filter(&serve.log)?)
                .with_ansi(false)
                .with_writer(std::io::stderr)
                .init();
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let outcome = runtime.block_on(run_server(*serve));
            // Requests that a fault holds must not hold the process.
            runtime.shutdown_background();
            outcome
        }
    }
}

/// A bare level is meant for this server, not for the libraries below it.
fn log_filter(text: &str) -> Result<EnvFilter, Box<dyn Error + Send + Sync>> {
    let is_level = text.parse::<tracing::Level>().is_ok();
    let filter = if is_level { format!("warn,xet_hub={text}") } else { text.to_owned() };
    Ok(EnvFilter::try_new(filter)?)
}

async fn run_server(serve: Serve) -> Outcome {
    let mut config = match &serve.config {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    config.token_ttl = serve.token_ttl.unwrap_or(config.token_ttl);
    config.url_ttl = serve.url_ttl.unwrap_or(config.url_ttl);
    if let Some(size) = serve.page_size {
        config.page_size = size;
        config.expanded_page_size = config.expanded_page_size.min(size);
    }
    config.resolve_cache_redirect =
        serve.resolve_cache_redirect.unwrap_or(config.resolve_cache_redirect);
    if config.page_size == 0 || config.expanded_page_size == 0 {
        return Err("a page must hold at least one entry".into());
    }
    let lock = DataLock::acquire(&serve.data)?;
    let mut users = Users::open(&serve.data)?;
    serve.token.into_iter().for_each(|user| users.add(user));
    let app = App::open(&serve.data, config, users, lock).await?;
    server::serve(app, serve.host, serve.port, serve.print_ready).await?;
    Ok(())
}
