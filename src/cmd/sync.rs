//! `gunyu sync`: the daemon.
//!
//! ```text
//! check the configuration -> listen -> lock, open, start -> serve until asked to stop -> drain -> exit 0
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::config::{Address, Config};
use super::{ConfigArgs, Exit, Failure, doctor, progress, seams, settings, traces};
use crate::core::supervisor::{Begin, Handle, Shared, Supervisor};
use crate::http::access::Guard;
use crate::http::serve::{Listening, Server};
use crate::http::tls::{self, Certificates};
use crate::http::{Api, ConfigText};

/// Run the daemon: follow the source, and keep the target its copy
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  gunyu sync --source redis://127.0.0.1:6379 --target redis://127.0.0.1:6380
  gunyu sync --source redis+cluster://10.0.0.1:6379,10.0.0.2:6379 \\
    --target redis+cluster://10.0.1.1:6379
  gunyu sync --config gunyu.yaml --set output.replay.batchCmdCount=500

Passwords are best given by GUNYU_SOURCE_PASSWORD and GUNYU_TARGET_PASSWORD. \
SIGTERM or Ctrl-C drains, records the checkpoint and ends with 0; a second one ends at once.")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Draw no progress on the terminal
    #[arg(long, short)]
    quiet: bool,
    /// Go on from the checkpoint that redis-GunYu has left on the target, without a full sync; refused where it does not fit
    #[arg(long)]
    adopt_redis_gunyu_checkpoint: bool,
}

/// Runs the daemon until it is asked to stop.
///
/// # Errors
/// The configuration is wrong (2), the first contact needs a person (2), or the daemon cannot start (1).
pub fn run(args: &Args) -> Result<(), Failure> {
    seams::heed()?;
    let mut config = args.config.check()?;
    config.refuse_unbuilt()?;
    if args.adopt_redis_gunyu_checkpoint && !config.output.replay.resume {
        let message = "--adopt-redis-gunyu-checkpoint contradicts output.replay.resumeFromBreakPoint: false";
        let hint = "leave one of the two away".to_owned();
        return Err(Failure::new(Exit::Usage, message).with_hint(Some(hint)));
    }
    config.read_tls()?;
    traces::init(&config.log)?;
    for note in config.notes.iter().chain(&config.exposed()) {
        tracing::warn!("{note}");
    }
    let runtime = runtime()?;
    let served = runtime.block_on(serve(&config, args));
    // Whatever still blocks (a disk, a name server) must not keep a process alive that has said goodbye.
    runtime.shutdown_timeout(Duration::from_millis(200));
    // The address is given back last: by then folder and catalog are free for the next process.
    let (ended, listeners) = served?;
    drop(listeners);
    ended
}

/// How the pipelines ended, and the listeners, which keep the addresses.
type Served = (Result<(), Failure>, Vec<TcpListener>);

/// The runtime of the pipelines.
///
/// # Errors
/// The operating system gives no threads.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("gunyu")
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot start the runtime: {error}")))
}

async fn serve(config: &Config, args: &Args) -> Result<Served, Failure> {
    let guard = guard(config)?;
    let (at, peers) = listen_everywhere(config).await?;
    let places = settings::Places::of(config);
    let mut pipelines =
        settings::sources_at(config, &places).map_err(|error| settings::wrong_filter(&error))?;
    pipelines.each(|one| one.inherits = args.adopt_redis_gunyu_checkpoint);
    let shared = Shared {
        group: settings::group::group(config)?.map(Arc::new),
        ..settings::shared(config)
    };
    let mut supervisor = Supervisor::start(&shared, pipelines, &Begin::Resume).await?;
    let handle = supervisor.handle();
    let api = Api {
        handle: handle.clone(),
        config: Arc::new(ConfigText {
            yaml: config.to_yaml(),
            json: config.to_json().to_string(),
        }),
        group: config.cluster.as_ref().map(|cluster| cluster.group_name.clone()),
        metrics_path: config.server.metric_route_path.clone(),
    };
    tracing::info!(listen = %config.server.listen, version = env!("CARGO_PKG_VERSION"), "gunyu is up");
    let server = Server::start(&api, &guard, at, peers)
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot serve the API: {error}")))?;
    tokio::spawn(progress::draw(handle.clone(), args.quiet));
    tokio::spawn(stop_at_signals(handle.clone()));
    if config.server.doctor_at_start {
        tokio::spawn(doctor::at_start(config.clone(), places));
    }
    let ended = drain(&mut supervisor, &handle, config.server.graceful_stop_timeout).await;
    handle.stop();
    // The answer to DELETE / may still be on its way.
    let listeners = tokio::time::timeout(Duration::from_secs(1), server.end()).await;
    Ok((ended, listeners.unwrap_or_default()))
}

/// Waits for the pipelines: without limit while they run, up to `limit` once they are asked to stop.
async fn drain(supervisor: &mut Supervisor, handle: &Handle, limit: Duration) -> Result<(), Failure> {
    let too_late = async {
        handle.stopping().await;
        tracing::info!(limit_ms = limit.as_millis(), "draining");
        tokio::time::sleep(limit).await;
    };
    tokio::select! {
        biased;
        result = supervisor.run() => {
            result?;
            tracing::info!("stopped");
        }
        () = too_late => {
            tracing::warn!("not drained in time; what is not applied is in the log, and the checkpoint says where to go on");
        }
    }
    Ok(())
}

/// Who may call the API.
fn guard(config: &Config) -> Result<Guard, Failure> {
    let server = &config.server;
    let token = server
        .auth
        .token()
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    if let Some(note) = server.auth.token_file_note() {
        tracing::warn!("{note}");
    }
    Ok(Guard {
        listen_host: server.listen.host.clone(),
        is_on_loopback: server.listen.is_loopback() || server.listen.is_unspecified(),
        allowed_hosts: server.allowed_hosts.clone(),
        metrics_path: server.metric_route_path.clone(),
        token: token.map(|token| token.expose().to_owned()),
        peer_token: settings::group::token(config)?,
        is_https: server.tls.is_some(),
    })
}

/// The certificate of the API, where it is served over TLS.
fn certificates(config: &Config) -> Result<Option<Certificates>, Failure> {
    let Some(tls) = &config.server.tls else {
        return Ok(None);
    };
    let files = tls::Files {
        cert: tls.cert.clone(),
        key: tls.key.clone(),
    };
    Certificates::load(files)
        .map(Some)
        .map_err(|error| Failure::new(Exit::Usage, format!("server.tls: {error}")))
}

/// Where the API is served, and the peers' calls where those have an address of their own and there is a group.
async fn listen_everywhere(config: &Config) -> Result<(Listening, Option<Listening>), Failure> {
    let server = &config.server;
    let at = listen(config, &server.listen, "listen").await?;
    let (own, peers) = (&server.listen, &server.listen_peer);
    // What listens everywhere listens there, too.
    let is_shared = own == peers || own.is_unspecified() && own.port == peers.port;
    if config.cluster.is_none() || is_shared {
        return Ok((at, None));
    }
    let peers = seams::peers_at(peers);
    Ok((at, Some(listen(config, &peers, "listenPeer").await?)))
}

async fn listen(config: &Config, address: &Address, key: &str) -> Result<Listening, Failure> {
    let bound = TcpListener::bind((address.host.as_str(), address.port)).await;
    let listener = bound.and_then(TcpListener::into_std).map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot listen on {address}: {error}"))
            .with_hint(Some(format!("another gunyu may be running: gunyu status, or choose another port with --set server.{key}=127.0.0.1:PORT")))
    })?;
    Ok(Listening {
        listener,
        certificates: certificates(config)?,
    })
}

/// The first signal drains; the second ends the process where it is.
async fn stop_at_signals(handle: Handle) {
    let streams = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = streams else {
        tracing::error!("signals cannot be handled; use DELETE / to stop");
        return;
    };
    for nth in 1.. {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if nth == 2 {
            tracing::warn!("second signal: ending at once");
            std::process::exit(i32::from(Exit::Interrupted as u8));
        }
        tracing::info!("stopping at a signal; another one ends at once");
        handle.stop();
    }
}
