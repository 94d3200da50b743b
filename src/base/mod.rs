//! Foundations that know no protocol: rings, slots, timers, limits, jobs, and files beneath a root.

pub mod accept_queue;
pub mod buffer_pool;
pub mod byte_pipe;
pub mod disk;
pub mod glob;
pub mod held;
pub mod job_name;
pub mod job_pool;
pub mod json;
pub mod limits;
pub mod listener_id;
pub mod listener_role;
pub mod log_key;
pub mod moment;
pub mod peer;
pub mod resolved;
pub mod ring;
pub mod silence;
pub mod slots;
pub mod terms;
pub mod throttle;
pub mod timer_wheel;
pub mod tls_facts;
pub mod upstream_facts;
pub mod wake;
pub mod words;
