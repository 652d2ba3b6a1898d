//! `sd-bare FILE`: a minimal hyper server that reads a request and answers with the bytes of the file. It has the settings
//! of sd-http's server and the runtime of sd-server, so the difference to `sd-server` is the cost of Cloud Map.

#![forbid(unsafe_code)]

use std::{convert::Infallible, env, error::Error, fs};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = env::args_os().nth(1).ok_or("usage: sd-bare FILE")?;
    let body = Bytes::from(fs::read(file)?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("  API    {}", listener.local_addr()?);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().half_close(true).max_buf_size(32 * 1024).header_read_timeout(None);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(32 * 1024);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let body = body.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let body = body.clone();
            async move {
                // A truncated body ends the connection. Its contents do not matter.
                let _ = request.into_body().collect().await;
                Ok::<_, Infallible>(answer(body))
            }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        tokio::spawn(async move { drop(connection.await) });
    }
}

/// As many headers as an answer of the API has, with the same lengths.
fn answer(body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
    headers.insert("x-amzn-requestid", HeaderValue::from_static("5a7fd2ab-1b0e-4a6a-9c4c-3d5dd2d1a1f0"));
    response
}
