//! Numbers and reasons: what is known of requests and connections, why they wait, how they ended, and how that is
//! written. Connections note it, and the admin's pages and the logs report it, so it is a layer below both.

pub mod accept_queue;
pub mod access_log;
pub mod arrivals;
pub mod close_reason;
pub mod counters;
pub mod delay;
pub mod histogram;
pub mod http2;
pub mod jobs;
pub mod keep_alive_race;
pub mod minute;
pub mod past;
pub mod report;
pub mod request_id;
pub mod request_record;
pub mod server_timing;
pub mod timers;
pub mod times;
pub mod tls;
pub mod upstream;
pub mod verdict;
pub mod wait_reason;
