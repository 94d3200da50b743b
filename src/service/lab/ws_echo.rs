//! `GET /ws/echo`: every message back as it arrives, piece by piece, in constant memory whatever its size.

use crate::http::message::RequestHead;
use crate::service::websocket::{Application, Endpoint, Farewell, Outgoing, Piece, Policy, upgrade};
use crate::service::{Cx, Reply};

const ENDPOINT: Endpoint = Endpoint { same_host: false, deflate: true, protocols: &[] };

/// Opens an echo.
pub fn open(request: &RequestHead<'_>, policy: &Policy, cx: &mut Cx<'_>) -> Reply {
    upgrade(request, policy, &ENDPOINT, cx, || Ok(Echo))
}

struct Echo;

impl Application for Echo {
    fn receive(&mut self, piece: Piece<'_>, out: &mut Outgoing, _cx: &mut Cx<'_>) -> Result<(), Farewell> {
        out.piece(piece.kind, piece.content, piece.end);
        Ok(())
    }
}
