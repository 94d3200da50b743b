//! A server on hyper, to be measured next to tidemill: `http-hyper [http2] [FOLDER] [--listen ADDR]`.
//!
//! HTTP/1.1 alone, pipelined answers flushed together, or HTTP/2 alone by prior knowledge, on a current-thread tokio. It
//! answers with the folder's files, which it reads at the start, and everything else as `/plaintext`. If a request has
//! content, it reads that first, and answers with its length. It prints `listening on http://127.0.0.1:PORT/` and runs until it is killed.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, SERVER};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};

const USAGE: &str = "usage: http-hyper [http2] [FOLDER] [--listen ADDR]";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

/// Content by path.
type Files = HashMap<String, Bytes>;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut address, mut version, mut files) = (([127, 0, 0, 1], 0).into(), Version::Http1, Files::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--listen" => address = arguments.next().ok_or(USAGE)?.parse()?,
            "http2" => version = Version::Http2,
            folder => files = read_all(Path::new(folder))?,
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    Ok(runtime.block_on(serve(address, version, Arc::new(files)))?)
}

fn read_all(folder: &Path) -> std::io::Result<Files> {
    let read = |file: std::io::Result<std::fs::DirEntry>| {
        let file = file?;
        let path = format!("/{}", file.file_name().to_string_lossy());
        Ok((path, std::fs::read(file.path())?.into()))
    };
    std::fs::read_dir(folder)?.map(read).collect()
}

async fn serve(address: SocketAddr, version: Version, files: Arc<Files>) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}/", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(converse(stream, version, files.clone()));
    }
}

/// A connection that fails is for whoever made the load to report.
async fn converse(stream: TcpStream, version: Version, files: Arc<Files>) {
    let service = service_fn(move |request| answer(request, files.clone()));
    let stream = TokioIo::new(stream);
    let result = match version {
        Version::Http1 => http1::Builder::new().pipeline_flush(true).serve_connection(stream, service).await,
        Version::Http2 => http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await,
    };
    if let Err(error) = result {
        eprintln!("{error}");
    }
}

async fn answer(mut request: Request<Incoming>, files: Arc<Files>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let mut received = 0;
    while let Some(frame) = request.frame().await {
        received += frame?.data_ref().map_or(0, Bytes::len);
    }
    let (content, kind) = match files.get(request.uri().path()) {
        _ if received > 0 => (received.to_string().into(), "text/plain"),
        Some(content) => (content.clone(), "application/octet-stream"),
        None => (Bytes::from_static(b"Hello, World!"), "text/plain"),
    };
    let length = HeaderValue::from(content.len());
    let mut response = Response::new(Full::new(content));
    let fields = response.headers_mut();
    fields.insert(SERVER, HeaderValue::from_static("hyper"));
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(CONTENT_LENGTH, length);
    Ok(response)
}
