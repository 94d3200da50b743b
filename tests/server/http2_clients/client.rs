//! A client of HTTP/2 by the crate `h2`, which we did not write.

use std::future::poll_fn;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::{Builder, SendRequest};
use http::{HeaderMap, Request, Version};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::support::DEADLINE;

/// What has come of one request, whatever the version: fields with names in lower case.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status and fields of responses before the final one.
    pub interim: Vec<(u16, Vec<(String, String)>)>,
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub content: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

/// One connection, and what drives it.
pub struct Client {
    runtime: Runtime,
    send: SendRequest<Bytes>,
    authority: String,
}

impl Client {
    /// Connects by prior knowledge.
    pub fn connect(authority: &str) -> Client {
        Client::with(authority, &Builder::new())
    }

    /// The same, with these settings.
    pub fn with(authority: &str, builder: &Builder) -> Client {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let send = runtime.block_on(async {
            let socket = TcpStream::connect(authority).await.unwrap();
            let (send, connection) = builder.handshake(socket).await.unwrap();
            // How it ends is seen in what comes of its requests.
            tokio::spawn(async { connection.await.ok() });
            send
        });
        Client { runtime, send, authority: authority.to_owned() }
    }

    /// One request and all that comes of it. With a `limit`, content is read until there are so many bytes of it.
    pub fn ask(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        content: &[u8],
        limit: usize,
    ) -> Result<Answer, h2::Error> {
        let uri = format!("http://{}{path}", self.authority);
        let mut request = Request::builder().method(method).uri(uri).version(Version::HTTP_2);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let content = Bytes::copy_from_slice(content);
        let send = self.send.clone();
        self.runtime.block_on(async {
            timeout(DEADLINE, exchange(send, request, content, limit)).await.expect("an answer in time")
        })
    }

    /// Asks so many times for the same, all at once. The content stays where it is as long as what this returns.
    pub fn leave(&mut self, path: &str, times: usize) -> Vec<RecvStream> {
        let uri = format!("http://{}{path}", self.authority);
        self.runtime.block_on(async {
            self.send.clone().ready().await.unwrap();
            let ask = |_| {
                let request = Request::builder().uri(&uri).version(Version::HTTP_2).body(()).unwrap();
                self.send.send_request(request, true).unwrap().0
            };
            let responses: Vec<_> = (0..times).map(ask).collect();
            let mut bodies = Vec::new();
            for response in responses {
                bodies.push(timeout(DEADLINE, response).await.expect("a head in time").unwrap().into_body());
            }
            bodies
        })
    }
}

async fn exchange(
    send: SendRequest<Bytes>,
    request: Request<()>,
    content: Bytes,
    limit: usize,
) -> Result<Answer, h2::Error> {
    let (mut response, mut stream) = send.ready().await?.send_request(request, content.is_empty())?;
    if !content.is_empty() {
        stream.send_data(content, true)?;
    }
    let mut interim = Vec::new();
    while let Some(head) = poll_fn(|cx| response.poll_informational(cx)).await {
        let head = head?;
        interim.push((head.status().as_u16(), list(head.headers())));
    }
    let (head, mut body) = response.await?.into_parts();
    let mut content = Vec::new();
    while content.len() < limit {
        let Some(piece) = body.data().await else { break };
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        content.extend_from_slice(&piece);
    }
    let trailers = if content.len() < limit { body.trailers().await? } else { None };
    let trailers = trailers.as_ref().map(list).unwrap_or_default();
    Ok(Answer { interim, status: head.status.as_u16(), fields: list(&head.headers), content, trailers })
}

fn list(fields: &HeaderMap) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().to_owned())).collect()
}
