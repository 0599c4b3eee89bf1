//! A blind pass through hyper, as little as it can be: what the gate's own HTTP library costs.

use hyper::Request;
use hyper::Uri;
use hyper::body::Incoming;
use hyper::http::uri::Authority;
use hyper::http::uri::Parts;
use hyper::http::uri::Scheme;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use std::process::ExitCode;
use tokio::net::TcpListener;

/// The argument that makes the benchmark's binary one; where to listen and where to send follow.
pub(crate) const ARGUMENT: &str = "pass-through";

pub(crate) fn run(listen: &str, cloud: &str) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await.unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http::<Incoming>();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (client, cloud): (_, Authority) = (client.clone(), cloud.parse().unwrap());
            let service = service_fn(move |mut request: Request<Incoming>| {
                let mut to = Parts::default();
                to.scheme = Some(Scheme::HTTP);
                to.authority = Some(cloud.clone());
                to.path_and_query = request.uri().path_and_query().cloned();
                *request.uri_mut() = Uri::from_parts(to).unwrap();
                client.request(request)
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    })
}
