//! `/plaintext` on `may_minihttp`, to be measured next to tidemill: `http-may --listen ADDR`.
//!
//! One worker, with small stacks as its authors set them for such answers. It answers every path the same, prints
//! `listening on http://ADDR/` and runs until it is killed.

use may_minihttp::{HttpServer, HttpService, Request, Response};
use std::error::Error;
use std::io;

#[derive(Clone)]
struct Plaintext;

impl HttpService for Plaintext {
    /// Server, Date and Content-Length are added by the library.
    fn call(&mut self, _: Request, response: &mut Response) -> io::Result<()> {
        response.header("Content-Type: text/plain").body("Hello, World!");
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [flag, address] = arguments.as_slice() else { return Err("usage: http-may --listen ADDR".into()) };
    if flag != "--listen" {
        return Err(format!("unknown: {flag}").into());
    }
    may::config().set_workers(1).set_pool_capacity(1000).set_stack_size(0x1000);
    let server = HttpServer(Plaintext).start(address)?;
    println!("listening on http://{address}/");
    server.join().map_err(|_| "the server panicked".into())
}
