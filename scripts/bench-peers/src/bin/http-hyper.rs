//! `/plaintext` on hyper, to be measured next to tidemill: `http-hyper [--listen ADDR]`.
//!
//! HTTP/1.1 alone on a current-thread tokio, pipelined answers flushed together. It answers every path the same, prints
//! `listening on http://127.0.0.1:PORT/` and runs until it is killed.

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, SERVER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};

fn main() -> Result<(), Box<dyn Error>> {
    let address = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => ([127, 0, 0, 1], 0).into(),
        [flag, address] if flag == "--listen" => address.parse()?,
        _ => return Err("usage: http-hyper [--listen ADDR]".into()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    Ok(runtime.block_on(serve(address))?)
}

async fn serve(address: SocketAddr) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}/", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(converse(stream));
    }
}

/// A connection that fails is for whoever made the load to report.
async fn converse(stream: TcpStream) {
    let connection =
        http1::Builder::new().pipeline_flush(true).serve_connection(TokioIo::new(stream), service_fn(plaintext));
    if let Err(error) = connection.await {
        eprintln!("{error}");
    }
}

async fn plaintext(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"Hello, World!")));
    let fields = response.headers_mut();
    fields.insert(SERVER, HeaderValue::from_static("hyper"));
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    fields.insert(CONTENT_LENGTH, HeaderValue::from_static("13"));
    Ok(response)
}
