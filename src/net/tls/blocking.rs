//! A client of HTTPS for a thread that may wait.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, ConfigBuilder, Error, StreamOwned, WantsVerifier};

use super::files::Files;
use super::provider::provider;
use super::trusts_all::TrustsAll;
use super::upstreams::server_name;
use super::{Fault, authorities};

/// Whom a client trusts.
#[derive(Debug)]
pub struct BlockingClient {
    config: Arc<ClientConfig>,
}

impl BlockingClient {
    /// Servers whose certificates are from the `authorities` in this PEM file, or from those that the system trusts.
    ///
    /// # Errors
    /// What is wrong with the file, without its name; or that the system trusts nobody.
    pub fn trusting(authorities: Option<&Path>) -> Result<BlockingClient, String> {
        let roots = match authorities {
            Some(file) => Files::read(&[file]).0.content(file).and_then(authorities::in_pem)?,
            None => authorities::of_system()?,
        };
        Ok(BlockingClient::of(builder()?.with_root_certificates(roots).with_no_client_auth()))
    }

    /// Everybody: for who wants to know whether a server answers, and not who it is.
    ///
    /// # Errors
    /// The library does not have the versions of TLS, which it has.
    pub fn trusting_everyone() -> Result<BlockingClient, String> {
        let builder = builder()?.dangerous().with_custom_certificate_verifier(Arc::new(TrustsAll::new()));
        Ok(BlockingClient::of(builder.with_no_client_auth()))
    }

    fn of(mut config: ClientConfig) -> BlockingClient {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        BlockingClient { config: Arc::new(config) }
    }

    /// A connection with this `host` over `stream`. The handshake is done.
    ///
    /// # Errors
    /// What is wrong with the host, or with what the peer has said; or what the system says of the stream.
    pub fn connect(&self, host: &str, mut stream: TcpStream) -> io::Result<impl Read + Write + use<>> {
        let fault = |fault: Fault| io::Error::new(ErrorKind::InvalidData, fault);
        let name = server_name(host).map_err(fault)?;
        let connection = ClientConnection::new(Arc::clone(&self.config), name);
        let mut connection = connection.map_err(|error| fault(Fault::of_upstream(error)))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).map_err(|error| match error.downcast::<Error>() {
                Ok(error) => fault(Fault::of_upstream(error)),
                Err(error) => error,
            })?;
        }
        Ok(StreamOwned::new(connection, stream))
    }
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, String> {
    let builder = ClientConfig::builder_with_provider(provider());
    builder.with_protocol_versions(&[&TLS13, &TLS12]).map_err(|error| error.to_string())
}
