//! What holds for the requests of one route, beyond who answers them.

use super::limits::Limits;

/// What holds for the requests of one route. A request without terms has the limits of the server, and stands in the access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// What the route is called in logs and reports.
    pub route: Box<str>,
    /// Whether its requests stand in the access log.
    pub is_logged: bool,
    /// The limits in force. Of them the route may have its own `body_timeout`, `send_timeout`, `abort_on_close`,
    /// `content_bytes_max` and `gathered_bytes_max`; all others are those of the server.
    pub limits: Limits,
}
