//! Runs the three origins until a signal comes.

use std::future::Future;
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::app::{App, Ports};
use crate::faults::layer::{Side, observe};
use crate::net::{ResetSwitch, ResettableListener};
use crate::stats::Origin;
use crate::{admin, api, cas, storage};

/// How long requests in flight may go on after the signal. Faults can hold some for ever.
const GRACE: Duration = Duration::from_secs(2);

/// How the one line on standard output looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Ready {
    /// The endpoint alone.
    Url,
    /// An object with `endpoint`, `cas`, `storage` and `pid`.
    Json,
}

/// Serves `app` on `host`; the Hub on `port` (0: any), the other origins on ports that are free.
pub(crate) async fn serve(app: App, host: IpAddr, port: u16, ready: Ready) -> io::Result<()> {
    let app = Arc::new(app);
    let hub = TcpListener::bind((host, port)).await.map_err(|error| {
        io::Error::new(error.kind(), format!("can't listen on {host}:{port}: {error}"))
    })?;
    let cas = TcpListener::bind((host, 0)).await?;
    let storage = TcpListener::bind((host, 0)).await?;
    let ports = Ports {
        hub: hub.local_addr()?.port(),
        cas: cas.local_addr()?.port(),
        storage: storage.local_addr()?.port(),
    };
    app.ports.set(ports).map_err(|_| io::Error::other("served twice"))?;
    let signal = shutdown_signal()?;

    let (stop, stopped) = watch::channel(false);
    let mut origins = JoinSet::new();
    let hub_router = Router::new().fallback(api::serve).with_state(Arc::clone(&app));
    let hub_router = if host.is_loopback() {
        let admin = admin::router().layer(DefaultBodyLimit::disable());
        hub_router.merge(admin.with_state(Arc::clone(&app)))
    } else {
        hub_router
    };
    for (origin, listener, router) in [
        (Origin::Hub, hub, hub_router),
        (Origin::Cas, cas, cas::api::router(Arc::clone(&app))),
        (Origin::Storage, storage, storage::router(Arc::clone(&app))),
    ] {
        let side = Side { app: Arc::clone(&app), origin };
        let service = router
            .layer(from_fn_with_state(side, observe))
            .into_make_service_with_connect_info::<ResetSwitch>();
        let mut stopped = stopped.clone();
        let server =
            axum::serve(ResettableListener(listener), service).with_graceful_shutdown(async move {
                // An error means that the sender is gone, which is a stop too.
                let _ = stopped.wait_for(|&stop| stop).await;
            });
        origins.spawn(async move { server.await });
    }
    say_ready(host, ports, ready)?;

    signal.await;
    tracing::info!("stopping");
    stop.send_replace(true);
    let finished = async { while origins.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, finished).await.is_err() {
        tracing::info!("dropping requests that are still in flight");
    }
    Ok(())
}

fn say_ready(host: IpAddr, ports: Ports, ready: Ready) -> io::Result<()> {
    let host = match host {
        IpAddr::V4(host) => host.to_string(),
        IpAddr::V6(host) => format!("[{host}]"),
    };
    let url = |port| format!("http://{host}:{port}");
    let line = match ready {
        Ready::Url => url(ports.hub),
        Ready::Json => json!({
            "endpoint": url(ports.hub),
            "cas": url(ports.cas),
            "storage": url(ports.storage),
            "pid": std::process::id(),
        })
        .to_string(),
    };
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Resolves at the first SIGTERM or SIGINT. The handlers are in place when this returns.
fn shutdown_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}
