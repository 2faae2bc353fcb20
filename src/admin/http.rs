//! The endpoint of metrics, probes and the status page: HTTP/1.1, read only. The home of hyper.
//!
//! It can be reached by whoever reaches its address, so it shows nothing of any client, and what a caller can take of it is bounded: 32
//! connections, of which the oldest gives way to a newer one, heads of 8 KiB, five seconds from one request to the next.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use super::health::{BackendState, Phase, unready};
use super::host::{self, WrongHost};
use super::page;
use super::stream::HttpStream;
use super::view::View;

/// Connections at once.
const MOST_CONNECTIONS: usize = 32;
/// Requests of one connection.
const MOST_REQUESTS: usize = 1000;
/// From the accept to the first request's head, and from each head to the next: what stands in between is the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// A request's head, in bytes. It is the least that hyper allows.
const LONGEST_HEAD: usize = 8 * 1024;
/// The pause after an accept(2) that failed although a descriptor was given back for it.
const BACK_OFF: Duration = Duration::from_millis(50);

/// The endpoint as its connections see it.
pub(super) struct Endpoint {
    pub(super) view: Arc<View>,
    pub(super) backend: watch::Receiver<BackendState>,
    /// `admin.hosts`.
    pub(super) hosts: Vec<String>,
}

type Answer = Response<String>;

/// Serves the connections of `listener` for as long as it is polled.
pub(super) async fn serve(listener: TcpListener, endpoint: Endpoint) {
    let endpoint = Arc::new(endpoint);
    let mut running = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    // An operator must see a daemon that has run out of descriptors: one is kept back for that.
    let mut reserve = File::open("/dev/null").ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) if reserve.is_none() => {
                converse(stream, Arc::clone(&endpoint), 1).await;
                reserve = File::open("/dev/null").ok();
            }
            Ok((stream, _)) => {
                while running.try_join_next().is_some() {}
                oldest_first.retain(|connection| !connection.is_finished());
                if oldest_first.len() >= MOST_CONNECTIONS
                    && let Some(oldest) = oldest_first.pop_front()
                {
                    oldest.abort();
                }
                oldest_first.push_back(running.spawn(converse(stream, Arc::clone(&endpoint), MOST_REQUESTS)));
            }
            Err(_) if reserve.take().is_some() => {}
            Err(_) => sleep(BACK_OFF).await,
        }
    }
}

/// Answers a connection's requests, at most `most` of them.
async fn converse(stream: TcpStream, endpoint: Arc<Endpoint>, most: usize) {
    let deadline = Mutex::new(soon());
    let served = AtomicUsize::new(1);
    let service = service_fn(|request: Request<Incoming>| {
        *deadline.lock().unwrap_or_else(PoisonError::into_inner) = soon();
        let mut answer = endpoint.answer(&request);
        if served.fetch_add(1, Ordering::Relaxed) >= most {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        async { Ok::<_, Infallible>(answer) }
    });
    let mut http = http1::Builder::new();
    http.max_buf_size(LONGEST_HEAD).max_headers(64).header_read_timeout(None);
    let mut connection = std::pin::pin!(http.serve_connection(HttpStream(stream), service));
    loop {
        let until = *deadline.lock().unwrap_or_else(PoisonError::into_inner);
        tokio::select! {
            // Whichever branch ends first ends the connection, or is asked again.
            _ = &mut connection => return,
            () = sleep_until(until) => {
                if *deadline.lock().unwrap_or_else(PoisonError::into_inner) <= Instant::now() {
                    return;
                }
            }
        }
    }
}

fn soon() -> Instant {
    let now = Instant::now();
    now.checked_add(PATIENCE).unwrap_or(now)
}

impl Endpoint {
    fn answer<B>(&self, request: &Request<B>) -> Answer {
        match host::check(request.uri(), request.headers(), &self.hosts) {
            Ok(()) => {}
            Err(WrongHost::NotOne) => return refusal(StatusCode::BAD_REQUEST, "expected one Host header\n"),
            Err(WrongHost::Foreign) => {
                return refusal(
                    StatusCode::MISDIRECTED_REQUEST,
                    "this host is not served: use an IP address or localhost, or add it to admin.hosts\n",
                );
            }
        }
        if request.method() != Method::GET {
            let mut answer = refusal(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            return answer;
        }
        let backend = self.backend.borrow().clone();
        match request.uri().path() {
            "/metrics" => answer(StatusCode::OK, OPEN_METRICS, self.view.scrape(&backend)),
            // Whoever reads this has been served by the event loop.
            "/livez" => probe(None),
            "/readyz" => probe(unready(self.view.phase(), &backend)),
            "/startupz" => probe((self.view.phase() == Phase::Starting).then(|| "starting: not listening yet".to_owned())),
            "/" | "/status" => self.status(request.headers(), &backend),
            _ => answer(StatusCode::NOT_FOUND, TEXT, "expected /metrics, /livez, /readyz, /startupz or /status\n"),
        }
    }

    fn status(&self, headers: &HeaderMap, backend: &BackendState) -> Answer {
        let status = self.view.status(backend);
        let accepted = headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
        if accepted.into_iter().any(|accept| accept.contains("application/json")) {
            let json = serde_json::to_string(&status).unwrap_or_default();
            return answer(StatusCode::OK, "application/json", json + "\n");
        }
        answer(StatusCode::OK, "text/html; charset=utf-8", page::render(&status))
    }
}

/// The answer of a probe: why not, if not.
fn probe(why_not: Option<String>) -> Answer {
    match why_not {
        None => answer(StatusCode::OK, TEXT, "ok\n"),
        Some(reason) => answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, reason + "\n"),
    }
}

/// An answer to a request that should not have come: its connection ends, whatever else it carries.
fn refusal(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = answer(status, TEXT, text);
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<String>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    let headers: [(HeaderName, &'static str); 4] = [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, page::POLICY),
    ];
    answer.headers_mut().extend(headers.map(|(name, value)| (name, HeaderValue::from_static(value))));
    answer
}

const TEXT: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
