//! A collector on loopback that takes OTLP over HTTP and keeps what it got.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::world::poll;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What the collector does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Takes it.
    Well,
    /// Takes log records, but only so many at once; more are 413.
    Narrow(usize),
    /// Says that all is well as something else than a collector does: a status and a media type.
    Other(StatusCode, &'static str),
    /// Refuses it with a status.
    Refusing(StatusCode),
    /// Takes log records and says that it has rejected one of them.
    Rejecting,
    /// Never answers.
    Hanging,
}

pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

struct State {
    mood: Mutex<Mood>,
    received: Mutex<Vec<ResourceSpans>>,
    records: Mutex<Vec<LogRecord>>,
    heads: Mutex<Vec<http::request::Parts>>,
}

impl Collector {
    pub(crate) async fn http(mood: Mood) -> Self {
        Self::start(mood, None).await
    }

    pub(crate) async fn https(mood: Mood) -> Self {
        Self::start(mood, Some(acceptor())).await
    }

    async fn start(mood: Mood, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            mood: Mutex::new(mood),
            received: Mutex::default(),
            records: Mutex::default(),
            heads: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, tls, Arc::clone(&state)));
        Self { address, state, _tasks: tasks }
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        *self.state.mood.lock().unwrap() = mood;
    }

    pub(crate) fn received(&self) -> Vec<ResourceSpans> {
        self.state.received.lock().unwrap().clone()
    }

    /// The log records that it took, in order.
    pub(crate) fn records(&self) -> Vec<LogRecord> {
        self.state.records.lock().unwrap().clone()
    }

    pub(crate) fn heads(&self) -> Vec<http::request::Parts> {
        self.state.heads.lock().unwrap().clone()
    }

    /// Waits for the first spans.
    pub(crate) async fn wait(&self) -> Vec<ResourceSpans> {
        poll(|| Some(self.received()).filter(|it| !it.is_empty())).await
    }
}

/// A file of the test certificates.
pub(crate) fn tls_file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
}

/// Speaks TLS as `localhost`, by the test CA.
pub(crate) fn acceptor() -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(tls_file("localhost.pem")).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(tls_file("localhost.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        let tls = tls.clone();
        connections.spawn(async move {
            match tls {
                None => serve(stream, state).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, state).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, state: Arc<State>) {
    let service = service_fn(move |request| take(request, Arc::clone(&state)));
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn take(
    request: Request<Incoming>,
    state: Arc<State>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let is_logs = head.uri.path() == "/v1/logs";
    state.heads.lock().unwrap().push(head);
    let mood = *state.mood.lock().unwrap();
    let status = match mood {
        Mood::Hanging => std::future::pending().await,
        Mood::Refusing(status) => status,
        _ if is_logs => return Ok(take_logs(body, mood, &state)),
        Mood::Other(status, _) => status,
        Mood::Narrow(_) | Mood::Rejecting | Mood::Well => {
            let request = ExportTraceServiceRequest::decode(body).unwrap();
            state.received.lock().unwrap().extend(request.resource_spans);
            StatusCode::OK
        }
    };
    Ok(Response::builder().status(status).body(Full::default()).unwrap())
}

fn take_logs(body: Bytes, mood: Mood, state: &State) -> Response<Full<Bytes>> {
    let request = ExportLogsServiceRequest::decode(body).unwrap();
    let scopes = request.resource_logs.into_iter().flat_map(|it| it.scope_logs);
    let records: Vec<_> = scopes.flat_map(|it| it.log_records).collect();
    if let Mood::Other(status, media) = mood {
        let page = if status == StatusCode::NO_CONTENT { "" } else { "<html></html>" };
        let answer = Response::builder().status(status).header("content-type", media);
        return answer.body(Full::from(page)).unwrap();
    }
    if matches!(mood, Mood::Narrow(most) if most < records.len()) {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Response::builder().status(status).body(Full::default()).unwrap();
    }
    let rejected = ExportLogsPartialSuccess {
        rejected_log_records: 1,
        error_message: "no room for it".to_owned(),
    };
    let partial_success = (mood == Mood::Rejecting).then_some(rejected);
    state.records.lock().unwrap().extend(records);
    let body = ExportLogsServiceResponse { partial_success }.encode_to_vec();
    let answer = Response::builder().header("content-type", "application/x-protobuf");
    answer.body(Full::from(body)).unwrap()
}
