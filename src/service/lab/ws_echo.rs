//! `GET /ws/echo`: every message back as it arrives, part by part, in constant memory whatever its size.

use crate::http::exchange::{Cx, Reply};
use crate::http::message::RequestHead;
use crate::service::websocket::{
    Application, Endpoint, Farewell, MessagePart, Outgoing, Policy, Subprotocols, upgrade,
};

const ENDPOINT: Endpoint = Endpoint { same_host: false, deflate: true, protocols: Subprotocols::Any };

/// Opens an echo.
pub fn open(request: &RequestHead<'_>, policy: &Policy, cx: &mut Cx<'_>) -> Reply {
    upgrade(request, policy, &ENDPOINT, cx, || Ok(Echo))
}

struct Echo;

impl Application for Echo {
    fn receive(&mut self, part: MessagePart<'_>, out: &mut Outgoing, _cx: &mut Cx<'_>) -> Result<(), Farewell> {
        out.part(part.kind, part.content, part.end);
        Ok(())
    }
}
