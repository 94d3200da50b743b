//! Numbers and reasons: what is known of requests and connections, why they wait, how they ended, and how that is
//! written. Both those who serve and those who are served by it may use this layer.

pub mod access_log;
pub mod close_reason;
pub mod counters;
pub mod delay;
pub mod histogram;
pub mod report;
pub mod request_record;
pub mod times;
pub mod wait_reason;
